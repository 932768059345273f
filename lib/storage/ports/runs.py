"""Runs, and all that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from lib.errors import Conflict, NotFound
from lib.storage.ports.pages import Page
from lib.storage.records import (
    Artifact,
    IdempotencyClaim,
    Lease,
    RunChange,
    RunEvent,
    RunQuery,
    RunRecord,
    RunSummary,
    RunTotals,
    StoredAnswer,
    WorkerFacts,
)

MAX_SCANNED_ROWS: Final = 5_000  # a page with an unindexed filter looks at no more rows than this


class RunNotFound(NotFound):
    """No run has this id."""

    code = "run_not_found"


class RunExists(Conflict):
    """There is a run with this id already."""

    code = "run_exists"


class StaleFence(Conflict):
    """The run was claimed or recovered by somebody else since."""

    code = "run_state_conflict"


class ConcurrencyReached(Conflict):
    """The worker runs as often as its manifest allows, and asks to skip."""

    code = "concurrency_conflict"


@dataclass(frozen=True, slots=True)
class Creation:
    """A new run, or the answer that the same request got before.

    Attributes:
        run: As it was created.
        started: As it is now, where it was claimed in the same unit.
    """

    run: RunRecord | None
    replayed: StoredAnswer | None = None
    started: RunRecord | None = None


class RunStore(Protocol):
    """Runs with their events, artifacts and counters; with them come their approvals.

    Counters (`worker_facts`, `totals`) change in the same transaction here;
    other adapters may lag by seconds.
    """

    def create(
        self,
        change: RunChange,
        *,
        claim: IdempotencyClaim | None = None,
        start: Callable[[RunRecord], RunChange] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Creation:
        """Insert a new queued run with its first events, and settle `claim`, as one unit.

        With `start` the run is claimed in the same unit, if `RunStore.claim` would have
        nothing else to look at, and the run's cap lets it start. An adapter may leave that.
        `meanwhile` is called in any case, by the caller's thread, before it is known what
        comes of the creation; it must not raise.

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
        the same name; the approval is inserted or replaced by id. Log lines are there no
        later than the run's new status. A follow-up run is
        created as `create` does, its cap not looked at. A report of the
        failure is kept until FailureReportStore.settle. An event's `seq` that is
        taken is a defect and changes nothing.

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
        same run. Fewer than `limit` say that no other could be claimed then.
        """
        ...

    def is_any_claimable(self, *, now: datetime) -> bool:
        """Whether `claim` may find a run; one that it would only hold back counts, too."""
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
        """Return a run's artifacts by name, without their bytes."""
        ...

    def find_artifact(self, run_id: str, name: str) -> Artifact | None:
        """Return the artifact of a run by name, if any."""
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

        Feedback goes with them, and uploads that no other run names. Each run goes as a whole
        or is still listed; it may take several transactions, so that none of
        them is long. Idempotent.
        """
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
