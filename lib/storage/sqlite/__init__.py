"""Stores in one SQLite file, of the standard library."""

from lib.storage.sqlite.accounts import SqliteAccountStore
from lib.storage.sqlite.approvals import SqliteApprovalStore
from lib.storage.sqlite.audit import SqliteAuditStore
from lib.storage.sqlite.blob_refs import SqliteBlobReferences
from lib.storage.sqlite.claims import SqliteClaimStore
from lib.storage.sqlite.database import SqliteDatabase
from lib.storage.sqlite.failure_reports import SqliteFailureReportStore
from lib.storage.sqlite.feedback import SqliteFeedbackStore
from lib.storage.sqlite.logs import SqliteLogStore
from lib.storage.sqlite.migrations import OtherVersion
from lib.storage.sqlite.rates import SqliteRateStore
from lib.storage.sqlite.runs import SqliteRunStore
from lib.storage.sqlite.secrets import SqliteSealedSecretStore
from lib.storage.sqlite.shares import SqliteShareStore
from lib.storage.sqlite.uploads import SqliteUploadStore
from lib.storage.sqlite.worker_settings import SqliteWorkerSettingsStore

__all__ = [
    "OtherVersion",
    "SqliteAccountStore",
    "SqliteApprovalStore",
    "SqliteAuditStore",
    "SqliteBlobReferences",
    "SqliteClaimStore",
    "SqliteDatabase",
    "SqliteFailureReportStore",
    "SqliteFeedbackStore",
    "SqliteLogStore",
    "SqliteRateStore",
    "SqliteRunStore",
    "SqliteSealedSecretStore",
    "SqliteShareStore",
    "SqliteUploadStore",
    "SqliteWorkerSettingsStore",
]
