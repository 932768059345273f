"""Storage ports: what each store promises, whatever holds it.

All methods are synchronous and may be called from any thread; every write is
durable when the method returns. Each adapter passes the same contract suite in
`tests/contract/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Generic, Protocol, TypeVar

from lib.errors import Conflict, Invalid, NotFound, Unavailable
from lib.storage.records import (
    Approval,
    Artifact,
    IdempotencyClaim,
    Lease,
    LogLevel,
    LogLine,
    RunChange,
    RunEvent,
    RunQuery,
    RunRecord,
    RunSummary,
    RunTotals,
    SealedValue,
    SecretInfo,
    StoredAnswer,
    Upload,
    WorkerFacts,
    WorkerSettings,
)

Row = TypeVar("Row")

MAX_SCANNED_ROWS = 5_000  # a page with an unindexed filter looks at no more rows than this


class RunNotFound(NotFound):
    """No run has this id."""

    code = "run_not_found"


class RunExists(Conflict):
    """There is a run with this id already."""

    code = "run_exists"


class UploadNotFound(NotFound):
    """No upload has this id, or it has expired."""

    code = "upload_not_found"


class StaleFence(Conflict):
    """The run was claimed or recovered by somebody else since."""

    code = "run_state_conflict"


class ConcurrencyReached(Conflict):
    """The worker runs as often as its manifest allows, and asks to skip."""

    code = "concurrency_conflict"


class IdempotencyKeyReused(Invalid):
    """The key was used with another body."""

    code = "idempotency_key_reused"


class StoreUnavailable(Unavailable):
    """The store cannot be read or written now."""

    code = "store_unavailable"


class BlobNotFound(NotFound):
    """No blob has this key."""

    code = "blob_not_found"


class PreconditionFailed(Conflict):
    """A conditional put found another state; nothing was written."""

    code = "precondition_failed"


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows in order, and the key after which the next page starts (None: the end)."""

    rows: tuple[Row, ...]
    next_key: str | None = None


@dataclass(frozen=True, slots=True)
class Creation:
    """A new run, or the answer that the same request got before."""

    run: RunRecord | None
    replayed: StoredAnswer | None = None


class RunStore(Protocol):
    """Runs with their events, artifacts, approvals and counters.

    Counters (`worker_facts`, `totals`) change in the same transaction here;
    other adapters may lag by seconds.
    """

    def create(self, change: RunChange, *, claim: IdempotencyClaim | None = None) -> Creation:
        """Insert a new queued run with its first events, and settle `claim`, as one unit.

        A live claim with the same key and digest: nothing is written and the
        stored answer returned. A claim that had expired by the run's
        `created_at` counts as absent. A worker whose policy says `on_limit: skip` and has `max` runs queued or running
        refuses; `waits` is taken as given. The uploads that the run names are marked
        used at its `created_at`, and kept until the last run that names them goes.

        Raises:
            IdempotencyKeyReused: the key lives with another digest.
            UploadNotFound: an upload that the run names has gone.
            ConcurrencyReached: `on_limit: skip` and the cap is reached.
            RunExists: the run's id is taken.
        """
        ...

    def find_answer(self, key: str, body_digest: str, *, now: datetime) -> StoredAnswer | None:
        """Return the answer that the same request got, if its claim still lives.

        Raises:
            IdempotencyKeyReused: the key lives with another digest.
        """
        ...

    def get(self, run_id: str) -> RunRecord:
        """Return a run. Raises RunNotFound."""
        ...

    def change(self, run_id: str, decide: Callable[[RunRecord], RunChange | None]) -> RunRecord:
        """Replace a run by what `decide` makes of it, atomically with all it brings.

        `decide` is pure and quick; it may be called again when another writer
        came between. None: nothing is written. When the run leaves `running`,
        the longest-waiting run of its worker that waits for the cap is made
        claimable in the same transaction (highest priority, then oldest).
        The same when a claimable run stops being that without having run: it
        may be the one that was let out for the cap. Artifacts replace those of
        the same name; the approval is inserted or replaced by id. An event's
        `seq` that is taken is a defect and changes nothing.

        Returns:
            The run as it is now.

        Raises:
            RunNotFound, and whatever `decide` raises (nothing is written then).
        """
        ...

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        """Apply `start` to up to `limit` claimable runs, as one unit; return them.

        Order: higher priority, then earlier `queued_at`, then id. Runs whose
        `not_before` has come are made claimable first. A run whose worker
        already has `policy.concurrency.max` (0: no cap) runs `running` is set
        to wait for the cap instead and not returned. Two callers never get the
        same run.
        """
        ...

    def renew(self, leases: Sequence[Lease], *, until: datetime) -> list[str]:
        """Extend leases, as one unit. Returns ids of runs whose fence is no longer ours."""
        ...

    def next_due(self) -> datetime | None:
        """Return the earliest `not_before` of runs that wait for time, if any."""
        ...

    def list_leased(self, owner: str) -> list[RunRecord]:
        """Return all running runs that `owner` holds, oldest first."""
        ...

    def list_expired(self, *, now: datetime, limit: int) -> list[RunRecord]:
        """Return running runs whose lease ended before `now`, longest ago first."""
        ...

    def version(self) -> int | None:
        """Return a number that grows with every change that a list could show.

        While it stands still, a list gives what it gave. It has grown before
        the call that made the change returns. None: this store cannot tell.
        Cheap, and may be called from an event loop.
        """
        ...

    def list_worker_runs(self, worker_id: str, *, limit: int) -> list[RunSummary]:
        """Return a worker's newest runs, newest first."""
        ...

    def list_events(self, run_id: str, *, after: int = 0) -> list[RunEvent]:
        """Return a run's events with `seq` above `after`, in order."""
        ...

    def list_artifacts(self, run_id: str) -> list[Artifact]:
        """Return a run's artifacts by name."""
        ...

    def find_artifact(self, run_id: str, name: str) -> Artifact | None:
        """Return the artifact of a run by name, if any."""
        ...

    def list_approvals(self, run_id: str) -> list[Approval]:
        """Return a run's approvals, oldest first."""
        ...

    def worker_facts(self, *, now: datetime) -> Mapping[str, WorkerFacts]:
        """Return the counters of every worker that ever ran."""
        ...

    def find_worker_facts(self, worker_id: str, *, now: datetime) -> WorkerFacts | None:
        """Return the counters of one worker; None if it never ran."""
        ...

    def totals(self, *, now: datetime) -> RunTotals:
        """Return the workspace's counters, without scanning runs."""
        ...

    def list_finished(self, *, before: datetime, limit: int) -> list[str]:
        """Return ids of runs that finished before `before`, those that did so first first."""
        ...

    def delete(self, run_ids: Sequence[str], *, before: datetime) -> None:
        """Delete those of these runs that finished before `before`, with all they own.

        Uploads that no other run names go with them. Each run goes as a whole
        or is still listed; it may take several transactions, so that none of
        them is long. Idempotent.
        """
        ...

    def delete_expired_claims(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` idempotency claims whose time is over; return how many."""
        ...

    def check(self) -> None:
        """Write and read something. Raises StoreUnavailable."""
        ...

    def list(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[RunSummary]:
        """Return a page of runs, newest (highest id) first, below id `after`.

        Filters by worker, statuses, trigger, since and until cost the same at
        any depth. `text`, and trigger with others, look at no more than
        MAX_SCANNED_ROWS rows: the page may be short, even empty, and still have
        a next key.
        """
        ...

    def list_json(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[str]:
        """Return the page that `list` returns, each run as `encode_summary` writes it.

        An adapter that keeps this text reads it as it is: a list then decodes and
        renders nothing, however seldom its runs are looked at.
        """
        ...


class LogStore(Protocol):
    """Log lines of runs. Appending the same `seq` again changes nothing."""

    def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Add lines, in ascending `seq`, above all that are there."""
        ...

    def tail(self, run_id: str, *, limit: int) -> list[LogLine]:
        """Return the last lines, oldest first."""
        ...

    def last_seq(self, run_id: str) -> int:
        """Return the highest `seq` stored, 0 when there is none."""
        ...

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete all lines of these runs, in transactions none of which is long."""
        ...

    def list(
        self, run_id: str, *, after: int = 0, limit: int, level: LogLevel | None = None
    ) -> list[LogLine]:
        """Return lines with `seq` above `after`, oldest first.

        `level` means this level and the more severe ones.
        """
        ...


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is known of a blob without reading it; `etag` is opaque."""

    key: str
    size: int
    etag: str


class BlobStore(Protocol):
    """Bytes under a key such as `sha256/ab/abcd...`; a put is whole or not at all.

    A key that `lib/storage/keys.py` refuses raises BadBlobKey from every method.
    """

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        """Store `data`, replacing what is there unless a condition says otherwise.

        Raises:
            PreconditionFailed: the key exists (`if_absent`), or its etag is
                another or it does not exist (`if_match`).
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole blob. Raises BlobNotFound."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open a blob for reading, with seek. Raises BlobNotFound."""
        ...

    def find(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, if it is there."""
        ...

    def touch(self, key: str) -> bool:
        """Make a blob as new as a put would; False when it is not there."""
        ...

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        """Remove a blob; False when it stays, or was not there.

        Nothing is removed that was put or touched at or after `unless_put_after`.
        """
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix` and is above `after`, by key.

        Blobs that are put or deleted meanwhile may be missed or still be there.
        It costs what is yielded, not what is skipped.
        """
        ...


class BlobReferences(Protocol):
    """Which blobs the records of all stores name, and how far the sweep has come.

    A record and the names that it gives are written as one unit, so a blob that
    no record names yet is one that was just put, or nobody's.
    """

    def find_unnamed(self, sha256s: Sequence[str]) -> set[str]:
        """Return those of these blobs that no record names.

        It sees every record that was acknowledged before the call. One look-up
        a blob; nothing is locked.
        """
        ...

    def swept_to(self) -> str:
        """Return the SHA-256 up to which the present round of the sweep has come.

        Empty at the start of a round.
        """
        ...

    def mark_swept(self, up_to: str) -> None:
        """Record how far the round has come."""
        ...


class UploadStore(Protocol):
    """Announced uploads; their bytes are blobs by content hash.

    RunStore.create records which runs use an upload, in its own transaction.
    """

    def create(self, upload: Upload) -> None:
        """Insert an upload."""
        ...

    def get(self, upload_id: str) -> Upload:
        """Return an upload. Raises UploadNotFound."""
        ...

    def mark_received(self, upload_id: str, *, at: datetime) -> Upload:
        """Record that the bytes are there; idempotent. Raises UploadNotFound."""
        ...

    def delete_expired(self, *, now: datetime, limit: int) -> list[Upload]:
        """Delete up to `limit` uploads that no run used by `expires_at`; return them.

        Their bytes may be somebody else's, too, and are not touched. Used ones
        go with the last run that names them: RunStore.delete.
        """
        ...


class WorkerSettingsStore(Protocol):
    """Instance settings of workers: enabled, saved inputs."""

    def get(self, worker_id: str) -> WorkerSettings:
        """Return a worker's settings; the defaults when none are stored."""
        ...

    def get_all(self) -> Mapping[str, WorkerSettings]:
        """Return all that are stored."""
        ...

    def change(
        self, worker_id: str, decide: Callable[[WorkerSettings], WorkerSettings]
    ) -> WorkerSettings:
        """Replace a worker's settings by what `decide` makes of them, atomically."""
        ...


class SecretStore(Protocol):
    """Secret values by name. No method of any edge returns a value to a caller."""

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        """Return the values of those names that are stored.

        Args:
            names: Others are never read.
            at: When a run takes them: their last use, unless a later one is
                known. None: it is no use; they are only to be masked.
        """
        ...

    def put(self, name: str, value: str, *, at: datetime) -> None:
        """Store a value, replacing an older one; its last use stays."""
        ...

    def delete(self, name: str) -> bool:
        """Remove a value; False when there was none."""
        ...

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        ...


class SealedSecretStore(Protocol):
    """Encrypted secret values: what a durable adapter keeps and cannot read.

    `lib/secrets/store.py` makes a SecretStore of it.
    """

    def take(self, names: Sequence[str], *, at: datetime | None) -> Mapping[str, SealedValue]:
        """Return those of `names` that are stored; `at` as in SecretStore.values."""
        ...

    def put(self, name: str, sealed: SealedValue, *, at: datetime, check: SealedValue) -> None:
        """Store a value, replacing an older one; its last use stays.

        `check` is stored with the first value, as one unit.
        """
        ...

    def delete(self, name: str) -> bool:
        """Remove a value, the last one with the check record; False when there was none."""
        ...

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        ...

    def find_check(self) -> SealedValue | None:
        """Return the check record: there as long as there are values."""
        ...
