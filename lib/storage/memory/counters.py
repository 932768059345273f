"""Counters of runs in memory.

What happened is kept, because figures outlive runs; what is, is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from lib.storage.hours import HOURS_A_DAY, HOURS_A_WEEK, hour_of, last_hours
from lib.storage.records import LastRun, RunRecord, RunStatus, RunTotals, WorkerFacts

_Kind = Literal["created", "completed", "failed"]


class MemoryCounters:
    """What happened by worker, hour and kind; failure streaks by worker."""

    def __init__(self) -> None:
        self._happened: Counter[tuple[str, int, _Kind]] = Counter()
        self._streaks: dict[str, int] = {}

    def count_created(self, run: RunRecord) -> None:
        """Count a new run."""
        self._happened[run.worker_id, hour_of(run.created_at), "created"] += 1
        self._streaks.setdefault(run.worker_id, 0)

    def count_finished(self, before: RunRecord, after: RunRecord) -> None:
        """Count the end of a run, if this change is that."""
        if before.status is after.status or not after.status.is_final:
            return
        failed = after.status is RunStatus.FAILED
        self._streaks[after.worker_id] = self._streaks[after.worker_id] + 1 if failed else 0
        if after.status is RunStatus.CANCELLED or after.finished_at is None:
            return
        kind: _Kind = "failed" if failed else "completed"
        self._happened[after.worker_id, hour_of(after.finished_at), kind] += 1

    def worker_facts(self, runs: Iterable[RunRecord], now: datetime) -> Mapping[str, WorkerFacts]:
        """Return each worker's figures."""
        newest = {run.worker_id: run for run in sorted(runs, key=lambda run: run.id)}
        return {
            worker_id: WorkerFacts(
                last_run=_last_run(newest.get(worker_id)),
                runs_7d=self._sum("created", now, worker_id),
                succeeded_7d=self._sum("completed", now, worker_id),
                finished_7d=self._sum("completed", now, worker_id)
                + self._sum("failed", now, worker_id),
                failure_streak=streak,
            )
            for worker_id, streak in self._streaks.items()
        }

    def totals(self, runs: Iterable[RunRecord], now: datetime) -> RunTotals:
        """Return the workspace's figures."""
        standing = Counter(run.status for run in runs)
        completed = self._sum("completed", now)
        return RunTotals(
            by_hour=tuple(
                sum(
                    count
                    for (_, at, kind), count in self._happened.items()
                    if at == hour and kind == "created"
                )
                for hour in last_hours(now, HOURS_A_DAY)
            ),
            succeeded_7d=completed,
            finished_7d=completed + self._sum("failed", now),
            queued=standing[RunStatus.QUEUED],
            running=standing[RunStatus.RUNNING],
            pending_approval=standing[RunStatus.PENDING_APPROVAL],
        )

    def _sum(self, wanted: _Kind, now: datetime, worker_id: str | None = None) -> int:
        """Return how often something happened in the last week."""
        week = last_hours(now, HOURS_A_WEEK)
        return sum(
            count
            for (worker, hour, kind), count in self._happened.items()
            if kind == wanted and hour in week and worker_id in (None, worker)
        )


def _last_run(run: RunRecord | None) -> LastRun | None:
    if run is None:
        return None
    return LastRun(run.id, run.status, run.created_at, run.duration_ms)
