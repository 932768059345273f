"""Rows of the table of runs: a record in, a record out."""

from __future__ import annotations

import sqlite3
from typing import Any

from lib.storage.documents import decode_run, encode_detail, encode_summary, milliseconds
from lib.storage.ports import RunExists, RunNotFound
from lib.storage.records import RunRecord

LOAD = """
SELECT summary, detail, waits, lease_until FROM runs INDEXED BY runs_by_id WHERE id = ?
"""
_INSERT = """
INSERT OR IGNORE INTO runs (
    status, priority, queued_at, waits, not_before, lease_owner, lease_until, fence,
    finished_at, summary, detail, id, worker_id, "trigger", cap
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
UPDATE runs INDEXED BY runs_by_id SET
    status = ?, priority = ?, queued_at = ?, waits = ?, not_before = ?, lease_owner = ?,
    lease_until = ?, fence = ?, finished_at = ?, summary = ?, detail = ?
WHERE id = ?
"""
# Leaves out every indexed column: no index is touched.
_UPDATE_DOCUMENTS = """
UPDATE runs INDEXED BY runs_by_id SET summary = ?, detail = ? WHERE id = ?
"""


def load(connection: sqlite3.Connection, run_id: str) -> RunRecord:
    """Return a run. Raises RunNotFound."""
    row = connection.execute(LOAD, (run_id,)).fetchone()
    if row is None:
        raise RunNotFound(f"There is no run {run_id}.")
    return decode_run(*row)


def insert(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Add a run. Raises RunExists."""
    fixed = (run.id, run.worker_id, run.trigger.type, run.policy.concurrency.max)
    if connection.execute(_INSERT, (*_state(run), *_documents(run), *fixed)).rowcount == 0:
        raise RunExists(f"There is a run {run.id} already.")


def update(connection: sqlite3.Connection, before: RunRecord, after: RunRecord) -> None:
    """Replace a run; its id, worker, trigger and policy never change."""
    state = _state(after)
    if state == _state(before):
        connection.execute(_UPDATE_DOCUMENTS, (*_documents(after), after.id))
    else:
        connection.execute(_UPDATE, (*state, *_documents(after), after.id))


def _documents(run: RunRecord) -> tuple[str, str]:
    return encode_summary(run), encode_detail(run)


def _state(run: RunRecord) -> tuple[Any, ...]:
    return (
        run.status.value,
        run.priority,
        milliseconds(run.queued_at),
        run.waits and run.waits.value,
        milliseconds(run.not_before),
        run.lease_owner,
        milliseconds(run.lease_until),
        run.fence,
        milliseconds(run.finished_at),
    )
