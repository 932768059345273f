"""Counters of runs, changed in the transaction that changes the run.

Nothing here counts rows of `runs`. The worker '' is the whole workspace.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from lib.storage.documents import decode_summary
from lib.storage.hours import HOURS_A_DAY, HOURS_A_WEEK, hour_of, last_hours
from lib.storage.records import LastRun, RunRecord, RunStatus, RunTotals, WorkerFacts

_WORKSPACE = ""

# ?5 and ?6: the streak is multiplied by one and grows by the other.
_COUNT = """
INSERT INTO counts (worker_id, queued, running, pending_approval, failure_streak)
VALUES (?1, ?2, ?3, ?4, ?6), ('', ?2, ?3, ?4, 0)
ON CONFLICT (worker_id) DO UPDATE SET
    queued = queued + excluded.queued,
    running = running + excluded.running,
    pending_approval = pending_approval + excluded.pending_approval,
    failure_streak = failure_streak * ?5 + excluded.failure_streak
"""
_COUNT_HOUR = """
INSERT INTO hours (worker_id, hour, created, completed, failed)
VALUES (?1, ?2, ?3, ?4, ?5), ('', ?2, ?3, ?4, ?5)
ON CONFLICT (worker_id, hour) DO UPDATE SET
    created = created + excluded.created,
    completed = completed + excluded.completed,
    failed = failed + excluded.failed
"""
_ACTIVE = "SELECT queued, running, pending_approval FROM counts WHERE worker_id = ?"
_FORGET_HOURS = "DELETE FROM hours WHERE hour < ?"

LIST_WORKERS = """
SELECT worker_id, failure_streak, (
    SELECT summary FROM runs INDEXED BY runs_by_worker
    WHERE worker_id = counts.worker_id ORDER BY id DESC LIMIT 1
)
FROM counts WHERE worker_id > ''
"""
LIST_WEEKS = """
SELECT counts.worker_id, sum(created), sum(completed), sum(failed)
FROM counts CROSS JOIN hours ON hours.worker_id = counts.worker_id AND hour BETWEEN ? AND ?
WHERE counts.worker_id > '' GROUP BY counts.worker_id
"""
FIND_WORKER = """
SELECT failure_streak, (
    SELECT summary FROM runs INDEXED BY runs_by_worker
    WHERE worker_id = counts.worker_id ORDER BY id DESC LIMIT 1
)
FROM counts WHERE worker_id = ?
"""
FIND_WEEK = """
SELECT coalesce(sum(created), 0), coalesce(sum(completed), 0), coalesce(sum(failed), 0)
FROM hours WHERE worker_id = ? AND hour BETWEEN ? AND ?
"""
LIST_HOURS = """
SELECT hour, created, completed, failed FROM hours
WHERE worker_id = '' AND hour BETWEEN ? AND ?
"""


def count_created(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Count a new run."""
    connection.execute(_COUNT, (run.worker_id, *_places(run.status), 1, 0))
    connection.execute(_COUNT_HOUR, (run.worker_id, hour_of(run.created_at), 1, 0, 0))


def count_moved(connection: sqlite3.Connection, before: RunRecord, after: RunRecord) -> None:
    """Count a change of status; the hour of finishing is that of `finished_at`."""
    if before.status is after.status:
        return
    moved = [b - a for a, b in zip(_places(before.status), _places(after.status), strict=True)]
    failed, completed = after.status is RunStatus.FAILED, after.status is RunStatus.COMPLETED
    keep = failed or not after.status.is_final
    connection.execute(_COUNT, (after.worker_id, *moved, int(keep), int(failed)))
    if (completed or failed) and after.finished_at is not None:
        hour = hour_of(after.finished_at)
        connection.execute(_COUNT_HOUR, (after.worker_id, hour, 0, int(completed), int(failed)))


def running(connection: sqlite3.Connection, worker_id: str) -> int:
    """Return how many runs of a worker are running."""
    return _active(connection, worker_id)[1]


def unfinished_work(connection: sqlite3.Connection, worker_id: str) -> int:
    """Return how many runs of a worker are queued or running."""
    return sum(_active(connection, worker_id)[:2])


def forget_hours(connection: sqlite3.Connection, *, before: datetime) -> None:
    """Drop the hours that no figure at `before` or later looks at."""
    connection.execute(_FORGET_HOURS, (last_hours(before, HOURS_A_WEEK)[0],))


def worker_facts(connection: sqlite3.Connection, now: datetime) -> Mapping[str, WorkerFacts]:
    """Return each worker's figures; `connection` sees one state throughout."""
    week = last_hours(now, HOURS_A_WEEK)
    sums = {row[0]: row[1:] for row in connection.execute(LIST_WEEKS, (week[0], week[-1]))}
    return {
        worker_id: _facts(summary, streak, sums.get(worker_id, (0, 0, 0)))
        for worker_id, streak, summary in connection.execute(LIST_WORKERS)
    }


def find_worker_facts(
    connection: sqlite3.Connection, worker_id: str, now: datetime
) -> WorkerFacts | None:
    """Return one worker's figures; `connection` sees one state throughout."""
    found = connection.execute(FIND_WORKER, (worker_id,)).fetchone()
    if found is None:
        return None
    week = last_hours(now, HOURS_A_WEEK)
    sums = connection.execute(FIND_WEEK, (worker_id, week[0], week[-1])).fetchone()
    streak, summary = found
    return _facts(summary, streak, sums)


def totals(connection: sqlite3.Connection, now: datetime) -> RunTotals:
    """Return the workspace's figures; `connection` sees one state throughout."""
    week = last_hours(now, HOURS_A_WEEK)
    queued, running_now, pending = _active(connection, _WORKSPACE)
    hours = {
        hour: counted for hour, *counted in connection.execute(LIST_HOURS, (week[0], week[-1]))
    }
    return RunTotals(
        by_hour=tuple(hours[hour][0] if hour in hours else 0 for hour in week[-HOURS_A_DAY:]),
        succeeded_7d=sum(completed for _, completed, _ in hours.values()),
        finished_7d=sum(completed + failed for _, completed, failed in hours.values()),
        queued=queued,
        running=running_now,
        pending_approval=pending,
    )


def _places(status: RunStatus) -> tuple[int, int, int]:
    return (
        int(status is RunStatus.QUEUED),
        int(status is RunStatus.RUNNING),
        int(status is RunStatus.PENDING_APPROVAL),
    )


def _active(connection: sqlite3.Connection, worker_id: str) -> tuple[int, int, int]:
    row: tuple[int, int, int] | None = connection.execute(_ACTIVE, (worker_id,)).fetchone()
    return row or (0, 0, 0)


def _facts(summary: str | None, streak: int, week: tuple[int, int, int]) -> WorkerFacts:
    created, completed, failed = week
    return WorkerFacts(
        last_run=None if summary is None else _last_run(summary),
        runs_7d=created,
        succeeded_7d=completed,
        finished_7d=completed + failed,
        failure_streak=streak,
    )


def _last_run(summary: str) -> LastRun:
    run = decode_summary(summary)
    return LastRun(run.id, run.status, run.created_at, run.duration_ms)
