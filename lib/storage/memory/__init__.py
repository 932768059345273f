"""Stores in memory: the ports at their simplest, for tests and trials.

Nothing outlives the process. Each store guards plain dictionaries with one
lock; where a durable adapter keeps an index or a counter, this looks at
everything.
"""

from lib.storage.memory.accounts import MemoryAccountStore
from lib.storage.memory.approvals import MemoryApprovalStore
from lib.storage.memory.audit import MemoryAuditStore
from lib.storage.memory.blob_refs import MemoryBlobReferences
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.memory.claims import MemoryClaimStore
from lib.storage.memory.failure_reports import MemoryFailureReportStore
from lib.storage.memory.feedback import MemoryFeedbackStore
from lib.storage.memory.logs import MemoryLogStore
from lib.storage.memory.rates import MemoryRateStore
from lib.storage.memory.runs import MemoryRunStore
from lib.storage.memory.secrets import MemorySecretStore
from lib.storage.memory.shares import MemoryShareStore
from lib.storage.memory.uploads import MemoryUploadStore
from lib.storage.memory.worker_settings import MemoryWorkerSettingsStore

__all__ = [
    "MemoryAccountStore",
    "MemoryApprovalStore",
    "MemoryAuditStore",
    "MemoryBlobReferences",
    "MemoryBlobStore",
    "MemoryClaimStore",
    "MemoryFailureReportStore",
    "MemoryFeedbackStore",
    "MemoryLogStore",
    "MemoryRateStore",
    "MemoryRunStore",
    "MemorySecretStore",
    "MemoryShareStore",
    "MemoryUploadStore",
    "MemoryWorkerSettingsStore",
]
