"""Handing out work: claims, caps, leases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.caps import started_at_once
from lib.storage.records import Lease, RunChange, RunRecord
from lib.storage.sqlite import changes, counters, run_rows

# INDEXED BY: left alone, the planner takes an index on the status and sorts,
# 62 ms at 100,000 queued runs instead of 0.04.
LIST_CLAIMABLE = """
SELECT id, worker_id, cap FROM runs INDEXED BY runs_claimable
WHERE status = 'queued' AND waits IS NULL ORDER BY priority DESC, queued_at, id
"""
FIND_CLAIMABLE = """
SELECT 1 FROM runs INDEXED BY runs_claimable WHERE status = 'queued' AND waits IS NULL LIMIT 1
"""
FIND_DUE = """
SELECT 1 FROM runs INDEXED BY runs_waiting_for_time
WHERE status = 'queued' AND waits = 'time' AND not_before <= ? LIMIT 1
"""
WAKE = """
UPDATE runs INDEXED BY runs_waiting_for_time SET waits = NULL
WHERE status = 'queued' AND waits = 'time' AND not_before <= ?
"""
HOLD = "UPDATE runs INDEXED BY runs_by_id SET waits = 'cap' WHERE id = ?"
RENEW = """
UPDATE runs INDEXED BY runs_by_id SET lease_until = ?
WHERE id = ? AND fence = ? AND status = 'running'
"""
NEXT_DUE = """
SELECT not_before FROM runs INDEXED BY runs_waiting_for_time
WHERE status = 'queued' AND waits = 'time' AND not_before IS NOT NULL
ORDER BY not_before LIMIT 1
"""
# Looks at every running run; there are never more than all servers can run.
LIST_LEASED = """
SELECT summary, detail, waits, lease_until FROM runs INDEXED BY runs_by_status
WHERE status = 'running' AND lease_owner = ? ORDER BY id
"""
LIST_EXPIRED = """
SELECT summary, detail, waits, lease_until FROM runs INDEXED BY runs_lease_end
WHERE status = 'running' AND lease_until < ? ORDER BY lease_until LIMIT ?
"""


def is_any_claimable(connection: sqlite3.Connection, *, now: datetime) -> bool:
    """Whether a claim may find a run; those that it would only hold back count, too."""
    if connection.execute(FIND_CLAIMABLE).fetchone() is not None:
        return True
    return connection.execute(FIND_DUE, (to_milliseconds(now),)).fetchone() is not None


def claim(
    connection: sqlite3.Connection,
    start: Callable[[RunRecord], RunChange],
    *,
    now: datetime,
    limit: int,
) -> list[RunRecord]:
    """Start up to `limit` claimable runs; hold back those above a cap."""
    connection.execute(WAKE, (to_milliseconds(now),))
    chosen, held = _choose(connection, limit)
    connection.executemany(HOLD, [(run_id,) for run_id in held])
    return [_begin(connection, run_id, start) for run_id in chosen]


def start_new(
    connection: sqlite3.Connection, change: RunChange, start: Callable[[RunRecord], RunChange]
) -> RunChange | None:
    """Return the creation of a run with its claim; None where it has to wait its turn."""
    run = change.run
    return started_at_once(
        change,
        start,
        is_any_claimable=lambda: is_any_claimable(connection, now=run.created_at),
        running=lambda: counters.running(connection, run.worker_id),
    )


def renew(connection: sqlite3.Connection, leases: Sequence[Lease], until: datetime) -> list[str]:
    """Extend leases; return the runs that somebody else holds now."""
    end = to_milliseconds(until)
    return [
        lease.run_id
        for lease in leases
        if connection.execute(RENEW, (end, lease.run_id, lease.fence)).rowcount == 0
    ]


def _choose(connection: sqlite3.Connection, limit: int) -> tuple[list[str], list[str]]:
    chosen: list[str] = []
    held: list[str] = []
    running: dict[str, int] = {}
    rows = connection.execute(LIST_CLAIMABLE)
    while len(chosen) < limit and (row := rows.fetchone()):
        run_id, worker_id, cap = row
        if worker_id not in running:
            running[worker_id] = counters.running(connection, worker_id)
        if cap and running[worker_id] >= cap:
            held.append(run_id)
            continue
        running[worker_id] += 1
        chosen.append(run_id)
    rows.close()
    return chosen, held


def _begin(
    connection: sqlite3.Connection, run_id: str, start: Callable[[RunRecord], RunChange]
) -> RunRecord:
    run = run_rows.load(connection, run_id)
    change = start(run)
    changes.apply(connection, run, change)
    return change.run
