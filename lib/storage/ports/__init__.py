"""Storage ports: what each store promises, whatever holds it.

All methods are synchronous and may be called from any thread; every write is
durable when the method returns. Each adapter passes the same contract suite in
`tests/contract/`.
"""

from lib.storage.ports.accounts import (
    MAX_TOKENS,
    AccountStore,
    LastAdmin,
    LinkInvalid,
    SessionAndUser,
    TokenAndUser,
    TokenConflict,
    TokenNotFound,
    UserConflict,
    UserNotFound,
)
from lib.storage.ports.approvals import (
    ApprovalNotFound,
    ApprovalStore,
    ClaimKey,
    Judge,
    Verdict,
)
from lib.storage.ports.audit import AuditStore
from lib.storage.ports.blobs import (
    Blob,
    BlobInfo,
    BlobNotFound,
    BlobReferences,
    BlobStore,
    BlobTooLarge,
)
from lib.storage.ports.claims import ClaimStore, IdempotencyKeyInUse, IdempotencyKeyReused
from lib.storage.ports.errors import (
    PreconditionFailed,
    PutInDoubt,
    StoreUnavailable,
    unavailable_for,
)
from lib.storage.ports.failure_reports import FailureReportStore
from lib.storage.ports.feedback import (
    MAX_FEEDBACK,
    FeedbackConflict,
    FeedbackExists,
    FeedbackNotFound,
    FeedbackStore,
)
from lib.storage.ports.logs import LogStore
from lib.storage.ports.pages import Page
from lib.storage.ports.rates import RateStore
from lib.storage.ports.runs import (
    MAX_SCANNED_ROWS,
    ConcurrencyReached,
    Creation,
    RunExists,
    RunNotFound,
    RunStore,
    StaleFence,
)
from lib.storage.ports.sealing import Sealer
from lib.storage.ports.secrets import SealedSecretStore, SecretStore
from lib.storage.ports.shares import ShareStore
from lib.storage.ports.uploads import UploadNotFound, UploadStore
from lib.storage.ports.worker_settings import WorkerSettingsStore

__all__ = [
    "MAX_FEEDBACK",
    "MAX_SCANNED_ROWS",
    "MAX_TOKENS",
    "AccountStore",
    "ApprovalNotFound",
    "ApprovalStore",
    "AuditStore",
    "Blob",
    "BlobInfo",
    "BlobNotFound",
    "BlobReferences",
    "BlobStore",
    "BlobTooLarge",
    "ClaimKey",
    "ClaimStore",
    "ConcurrencyReached",
    "Creation",
    "FailureReportStore",
    "FeedbackConflict",
    "FeedbackExists",
    "FeedbackNotFound",
    "FeedbackStore",
    "IdempotencyKeyInUse",
    "IdempotencyKeyReused",
    "Judge",
    "LastAdmin",
    "LinkInvalid",
    "LogStore",
    "Page",
    "PreconditionFailed",
    "PutInDoubt",
    "RateStore",
    "RunExists",
    "RunNotFound",
    "RunStore",
    "SealedSecretStore",
    "Sealer",
    "SecretStore",
    "SessionAndUser",
    "ShareStore",
    "StaleFence",
    "StoreUnavailable",
    "TokenAndUser",
    "TokenConflict",
    "TokenNotFound",
    "UploadNotFound",
    "UploadStore",
    "UserConflict",
    "UserNotFound",
    "Verdict",
    "WorkerSettingsStore",
    "unavailable_for",
]
