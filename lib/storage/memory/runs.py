"""Runs in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from lib.storage.approval_records import Approval
from lib.storage.blob_names import (
    RUN_ITEM,
    named_by_belongings,
    named_by_run,
)
from lib.storage.caps import check_cap, frees_a_place, started_at_once
from lib.storage.documents import encode_summary
from lib.storage.memory.blob_refs import MemoryBlobReferences
from lib.storage.memory.claims import MemoryClaimStore
from lib.storage.memory.counters import MemoryCounters
from lib.storage.memory.failure_reports import MemoryFailureReportStore
from lib.storage.memory.feedback import MemoryFeedbackStore
from lib.storage.memory.logs import MemoryLogStore
from lib.storage.memory.queue import Choice, choose, is_claimable, turn
from lib.storage.memory.run_lists import page_of
from lib.storage.memory.uploads import MemoryUploadStore
from lib.storage.ports import (
    Creation,
    Page,
    RunExists,
    RunNotFound,
)
from lib.storage.records import (
    Artifact,
    IdempotencyClaim,
    Lease,
    RunChange,
    RunEvent,
    RunQuery,
    RunRecord,
    RunStatus,
    RunSummary,
    RunTotals,
    StoredAnswer,
    Wait,
    WorkerFacts,
)


class MemoryRunStore:
    """A RunStore of dictionaries and one lock.

    Args:
        refs: Shared with the other stores whose records name blobs.
        uploads: What runs may name.
        claims: Where keys of starts are settled.
        feedback: What is said of these runs.
        reports: Takes up failures that are to be reported.
        logs: Takes up the lines that come with changes.

    Attributes:
        lock: Held by whoever reads or changes several things at once.
        approvals: By run and id.
        claims: Where keys are settled.
        logs: Where lines are kept that come with changes.
    """

    def __init__(
        self,
        refs: MemoryBlobReferences | None = None,
        uploads: MemoryUploadStore | None = None,
        claims: MemoryClaimStore | None = None,
        feedback: MemoryFeedbackStore | None = None,
        reports: MemoryFailureReportStore | None = None,
        logs: MemoryLogStore | None = None,
    ) -> None:
        self.lock = self._lock = threading.RLock()
        self._refs = refs or MemoryBlobReferences()
        self._uploads = uploads or MemoryUploadStore(self._refs)
        self._counters = MemoryCounters()
        self._runs: dict[str, RunRecord] = {}
        self._events: dict[str, dict[int, RunEvent]] = {}
        self._artifacts: dict[str, dict[str, Artifact]] = {}
        self.approvals: dict[str, dict[str, Approval]] = {}
        self.claims = self._claims = claims or MemoryClaimStore(self._refs)
        self._feedback = feedback or MemoryFeedbackStore(self._refs, self._claims)
        self._reports = reports or MemoryFailureReportStore()
        self.logs = logs or MemoryLogStore()

    def create(
        self,
        change: RunChange,
        *,
        claim: IdempotencyClaim | None = None,
        start: Callable[[RunRecord], RunChange] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Creation:
        """Insert a new queued run, and settle `claim`, as one unit."""
        meanwhile()
        with self._lock:
            at = change.run.created_at
            if claim is not None:
                answer = self._claims.find_answer(claim.key, claim.body_digest, now=at)
                if answer is not None:
                    return Creation(run=None, replayed=answer)
            check_cap(change.run, lambda: self._count_unfinished(change.run.worker_id))
            started = start and self._start_new(change, start)
            self._insert(started or change)
            if claim:
                self._claims.put(claim)
            return Creation(change.run, started=started.run if started else None)

    def find_answer(self, key: str, body_digest: str, *, now: datetime) -> StoredAnswer | None:
        """Return the answer that the same request got, if its claim still lives."""
        with self._lock:
            return self._claims.find_answer(key, body_digest, now=now)

    def get(self, run_id: str) -> RunRecord:
        """Return a run. Raises RunNotFound."""
        with self._lock:
            if run_id not in self._runs:
                raise RunNotFound(f"There is no run {run_id}.")
            return self._runs[run_id]

    def change(self, run_id: str, decide: Callable[[RunRecord], RunChange | None]) -> RunRecord:
        """Replace a run by what `decide` makes of it, atomically."""
        with self._lock:
            before = self.get(run_id)
            change = decide(before)
            if change is not None:
                self.apply(before, change)
            return self._runs[run_id]

    def apply(self, before: RunRecord, change: RunChange) -> None:
        """Write a change of a run that exists, as one unit."""
        with self._lock:
            if change.follow_up is not None:
                self._insert(change.follow_up)
            self._keep(change)
            self._counters.count_finished(before, change.run)
            if frees_a_place(before, change.run):
                self._let_next_try(before.worker_id)

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        """Apply `start` to up to `limit` claimable runs, as one unit; return them."""
        with self._lock:
            choice = self._choose(now, limit)
            started = [(run, start(run)) for run in choice.chosen]
            self._wake(now)
            for run in choice.held:
                self._runs[run.id] = replace(run, waits=Wait.CAP)
            for run, change in started:
                self.apply(run, change)
            return [change.run for _, change in started]

    def is_any_claimable(self, *, now: datetime) -> bool:
        """Whether `claim` may find a run."""
        with self._lock:
            return any(is_claimable(run, now) for run in self._all(RunStatus.QUEUED))

    def renew(self, leases: Sequence[Lease], *, until: datetime) -> list[str]:
        """Extend leases. Returns ids of runs whose fence is no longer ours."""
        with self._lock:
            lost = []
            for lease in leases:
                run = self._runs.get(lease.run_id)
                if run and run.fence == lease.fence and run.status is RunStatus.RUNNING:
                    self._runs[run.id] = replace(run, lease_until=until)
                else:
                    lost.append(lease.run_id)
            return lost

    def next_due(self) -> datetime | None:
        """Return the earliest `not_before` of runs that wait for time, if any."""
        times = (run.not_before for run in self._all(RunStatus.QUEUED) if run.waits is Wait.TIME)
        return min((time for time in times if time), default=None)

    def list_leased(self, owner: str) -> list[RunRecord]:
        """Return all running runs that `owner` holds, oldest first."""
        return [run for run in self._all(RunStatus.RUNNING) if run.lease_owner == owner]

    def list_expired(self, *, now: datetime, limit: int) -> list[RunRecord]:
        """Return running runs whose lease ended before `now`, longest ago first."""
        ended = [
            (run.lease_until, run.id, run)
            for run in self._all(RunStatus.RUNNING)
            if run.lease_until and run.lease_until < now
        ]
        return [run for _, _, run in sorted(ended)[:limit]]

    def version(self) -> int | None:
        """Return None: dictionaries are quick enough to be looked at each time."""
        return None

    def list_worker_runs(self, worker_id: str, *, limit: int) -> list[RunSummary]:
        """Return a worker's newest runs, newest first."""
        return [*self.list(RunQuery(worker_id=worker_id), limit=limit).rows]

    def list_events(self, run_id: str, *, after: int = 0) -> list[RunEvent]:
        """Return a run's events with `seq` above `after`, in order."""
        with self._lock:
            events = sorted(self._events.get(run_id, {}).items())
            return [event for seq, event in events if seq > after]

    def list_artifacts(self, run_id: str) -> list[Artifact]:
        """Return a run's artifacts by name, without their bytes."""
        with self._lock:
            found = sorted(self._artifacts.get(run_id, {}).items())
        return [replace(artifact, data=None) for _, artifact in found]

    def find_artifact(self, run_id: str, name: str) -> Artifact | None:
        """Return the artifact of a run by name, if any."""
        with self._lock:
            return self._artifacts.get(run_id, {}).get(name)

    def worker_facts(self, *, now: datetime) -> Mapping[str, WorkerFacts]:
        """Return the counters of every worker that ever ran."""
        with self._lock:
            return self._counters.worker_facts(self._runs.values(), now)

    def find_worker_facts(self, worker_id: str, *, now: datetime) -> WorkerFacts | None:
        """Return the counters of one worker; None if it never ran."""
        return self.worker_facts(now=now).get(worker_id)

    def totals(self, *, now: datetime) -> RunTotals:
        """Return the workspace's counters."""
        with self._lock:
            return self._counters.totals(self._runs.values(), now)

    def list_finished(self, *, before: datetime, limit: int) -> list[str]:
        """Return ids of runs that finished before `before`, those that did so first first."""
        with self._lock:
            ended = sorted(
                (run.finished_at, run.id)
                for run in self._runs.values()
                if run.status.is_final and run.finished_at and run.finished_at < before
            )
            return [run_id for _, run_id in ended[:limit]]

    def delete(self, run_ids: Sequence[str], *, before: datetime) -> None:
        """Delete those of these runs that finished before `before`, with all they own."""
        with self._lock:
            for run_id in {*run_ids} & {*self.list_finished(before=before, limit=len(self._runs))}:
                self._delete(run_id)

    def check(self) -> None:
        """Do nothing: there is nothing that could be away."""

    def list(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[RunSummary]:
        """Return a page of runs, newest first, below id `after`."""
        with self._lock:
            newest_first = [self._runs[run_id] for run_id in sorted(self._runs, reverse=True)]
        return page_of(newest_first, query, limit, after)

    def list_json(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[str]:
        """Return the page that `list` returns, each run as JSON text."""
        page = self.list(query, limit=limit, after=after)
        return Page(tuple(encode_summary(run) for run in page.rows), page.next_key)

    def _insert(self, change: RunChange) -> None:
        if change.run.id in self._runs:
            raise RunExists(f"There is a run {change.run.id} already.")
        self._uploads.use(change.run)
        self._keep(change)
        self._feedback.open(change.run.id)
        self._counters.count_created(change.run)

    def _start_new(
        self, change: RunChange, start: Callable[[RunRecord], RunChange]
    ) -> RunChange | None:
        now, worker_id = change.run.created_at, change.run.worker_id
        return started_at_once(
            change,
            start,
            is_any_claimable=lambda: self.is_any_claimable(now=now),
            running=lambda: sum(run.worker_id == worker_id for run in self._all(RunStatus.RUNNING)),
        )

    def _choose(self, now: datetime, limit: int) -> Choice:
        queued = self._all(RunStatus.QUEUED)
        return choose(queued, self._all(RunStatus.RUNNING), now=now, limit=limit)

    def _wake(self, now: datetime) -> None:
        for run in self._all(RunStatus.QUEUED):
            if run.waits is Wait.TIME and is_claimable(run, now):
                self._runs[run.id] = replace(run, waits=None)

    def _let_next_try(self, worker_id: str) -> None:
        waiting = [
            run
            for run in self._all(RunStatus.QUEUED)
            if run.worker_id == worker_id and run.waits is Wait.CAP
        ]
        if waiting:
            first = min(waiting, key=turn)
            self._runs[first.id] = replace(first, waits=None)

    def _keep(self, change: RunChange) -> None:
        run = change.run
        events = self._events.setdefault(run.id, {})
        if taken := [event.seq for event in change.events if event.seq in events]:
            raise ValueError(f"Run {run.id} has event {taken[0]} already.")
        if change.lines:
            self.logs.append(run.id, change.lines)
        self._runs[run.id] = run
        events.update((event.seq, event) for event in change.events)
        for artifact in change.artifacts:
            self._artifacts.setdefault(run.id, {})[artifact.name] = artifact
        if change.approval:
            self.approvals.setdefault(run.id, {})[change.approval.id] = change.approval
        if change.reports_failure:
            self._reports.add(run.id)
        self._refs.replace(run.id, RUN_ITEM, named_by_run(run))
        for item, named in named_by_belongings(change):
            self._refs.replace(run.id, item, named)

    def _delete(self, run_id: str) -> None:
        self._uploads.release(self._runs.pop(run_id))
        for belongings in (self._events, self._artifacts, self.approvals):
            belongings.pop(run_id, None)
        self._feedback.remove(run_id)
        self._reports.settle(run_id)
        self._refs.remove(run_id)

    def _count_unfinished(self, worker_id: str) -> int:
        active = (*self._all(RunStatus.QUEUED), *self._all(RunStatus.RUNNING))
        return sum(run.worker_id == worker_id for run in active)

    def _all(self, status: RunStatus) -> Sequence[RunRecord]:
        """Return all runs of a status, oldest first."""
        with self._lock:
            runs = sorted(self._runs.items())
        return [run for _, run in runs if run.status is status]
