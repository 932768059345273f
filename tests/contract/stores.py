"""All adapters, opened the same way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.clock import Clock
from lib.secrets.cipher import Cipher
from lib.secrets.keys import KEY_BYTES, Key
from lib.secrets.store import EncryptedSecretStore
from lib.storage.files import FileBlobStore
from lib.storage.memory import (
    MemoryAccountStore,
    MemoryApprovalStore,
    MemoryAuditStore,
    MemoryBlobReferences,
    MemoryBlobStore,
    MemoryClaimStore,
    MemoryFailureReportStore,
    MemoryFeedbackStore,
    MemoryLogStore,
    MemoryRateStore,
    MemoryRunStore,
    MemorySecretStore,
    MemoryShareStore,
    MemoryUploadStore,
    MemoryWorkerSettingsStore,
)
from lib.storage.ports import (
    AccountStore,
    ApprovalStore,
    AuditStore,
    BlobReferences,
    BlobStore,
    ClaimStore,
    FailureReportStore,
    FeedbackStore,
    LogStore,
    RateStore,
    RunStore,
    SecretStore,
    ShareStore,
    UploadStore,
    WorkerSettingsStore,
)
from lib.storage.sqlite import (
    SqliteAccountStore,
    SqliteApprovalStore,
    SqliteAuditStore,
    SqliteBlobReferences,
    SqliteClaimStore,
    SqliteDatabase,
    SqliteFailureReportStore,
    SqliteFeedbackStore,
    SqliteLogStore,
    SqliteRateStore,
    SqliteRunStore,
    SqliteSealedSecretStore,
    SqliteShareStore,
    SqliteUploadStore,
    SqliteWorkerSettingsStore,
)

BACKENDS = ("memory", "disk")
CIPHER = Cipher(Key(bytes(range(KEY_BYTES))), workspace_id="default")


@dataclass(frozen=True)
class Stores:
    """One of each port, of one kind."""

    runs: RunStore
    approvals: ApprovalStore
    claims: ClaimStore
    feedback: FeedbackStore
    reports: FailureReportStore
    logs: LogStore
    uploads: UploadStore
    shares: ShareStore
    references: BlobReferences
    worker_settings: WorkerSettingsStore
    secrets: SecretStore
    blobs: BlobStore
    audit: AuditStore
    rates: RateStore
    accounts: AccountStore


@contextmanager
def open_stores(backend: str, clock: Clock) -> Iterator[Stores]:
    """Open empty stores; closed and gone at the end."""
    if backend == "memory":
        yield _in_memory(clock)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        SqliteDatabase(Path(folder) / "floom.db") as database,
    ):
        yield _on_disk(database, Path(folder) / "blobs", clock)


def _in_memory(clock: Clock) -> Stores:
    references = MemoryBlobReferences()
    uploads = MemoryUploadStore(references)
    claims = MemoryClaimStore(references)
    feedback = MemoryFeedbackStore(references, claims)
    reports = MemoryFailureReportStore()
    logs = MemoryLogStore()
    runs = MemoryRunStore(references, uploads, claims, feedback, reports, logs)
    return Stores(
        runs=runs,
        approvals=MemoryApprovalStore(runs),
        claims=claims,
        feedback=feedback,
        reports=reports,
        logs=logs,
        uploads=uploads,
        shares=MemoryShareStore(),
        references=references,
        worker_settings=MemoryWorkerSettingsStore(),
        secrets=MemorySecretStore(),
        blobs=MemoryBlobStore(clock),
        audit=MemoryAuditStore(),
        rates=MemoryRateStore(),
        accounts=MemoryAccountStore(),
    )


def _on_disk(database: SqliteDatabase, folder: Path, clock: Clock) -> Stores:
    runs = SqliteRunStore(database)
    return Stores(
        runs=runs,
        approvals=SqliteApprovalStore(runs),
        claims=SqliteClaimStore(database),
        feedback=SqliteFeedbackStore(database),
        reports=SqliteFailureReportStore(database),
        logs=SqliteLogStore(database),
        uploads=SqliteUploadStore(database),
        shares=SqliteShareStore(database),
        references=SqliteBlobReferences(database),
        worker_settings=SqliteWorkerSettingsStore(database),
        secrets=EncryptedSecretStore(SqliteSealedSecretStore(database), CIPHER),
        blobs=FileBlobStore(folder, clock=clock),
        audit=SqliteAuditStore(database),
        rates=SqliteRateStore(database),
        accounts=SqliteAccountStore(database),
    )
