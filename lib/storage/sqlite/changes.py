"""Writing a change of a run with all that follows from it."""

from __future__ import annotations

import sqlite3

from lib.storage.blob_names import RUN_ITEM, named_by_run
from lib.storage.caps import check_cap, frees_a_place
from lib.storage.records import RunChange, RunRecord
from lib.storage.sqlite import belongings, blob_refs, counters, run_rows, uploads

LONGEST_WAITING = """
SELECT row FROM runs INDEXED BY runs_waiting_for_cap
WHERE worker_id = ? AND status = 'queued' AND waits = 'cap'
ORDER BY priority DESC, queued_at, id LIMIT 1
"""
_MAKE_CLAIMABLE = "UPDATE runs SET waits = NULL WHERE row = ?"


def create(connection: sqlite3.Connection, change: RunChange) -> None:
    """Write a new run. Raises ConcurrencyReached, RunExists, UploadNotFound."""
    run = change.run
    check_cap(run, lambda: counters.unfinished_work(connection, run.worker_id))
    _insert(connection, change)


def _insert(connection: sqlite3.Connection, change: RunChange) -> None:
    run = change.run
    run_rows.insert(connection, run)
    uploads.use(connection, run)
    counters.count_created(connection, run)
    _name_blobs(connection, None, run)
    belongings.add(connection, change)


def apply(connection: sqlite3.Connection, before: RunRecord, change: RunChange) -> None:
    """Write a change of a run that exists."""
    after = change.run
    if change.follow_up is not None:
        _insert(connection, change.follow_up)
    run_rows.update(connection, before, after)
    counters.count_moved(connection, before, after)
    _name_blobs(connection, before, after)
    belongings.add(connection, change)
    if frees_a_place(before, after):
        _let_next_try(connection, after.worker_id)


def _name_blobs(connection: sqlite3.Connection, before: RunRecord | None, run: RunRecord) -> None:
    named = named_by_run(run)
    if named != (named_by_run(before) if before else set()):
        blob_refs.replace(connection, run.id, RUN_ITEM, named)


def _let_next_try(connection: sqlite3.Connection, worker_id: str) -> None:
    row = connection.execute(LONGEST_WAITING, (worker_id,)).fetchone()
    if row is not None:
        connection.execute(_MAKE_CLAIMABLE, row)
