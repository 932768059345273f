"""Deleting what is past its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lib.clock import to_milliseconds
from lib.storage.sqlite import belongings, blob_refs, counters, uploads

MAX_ROWS: Final = 2_000  # small ones, of one transaction: some 20 ms of the writer

LIST_FINISHED = """
SELECT id FROM runs INDEXED BY runs_finished
WHERE status IN ('completed', 'failed', 'cancelled') AND finished_at < ?
ORDER BY finished_at LIMIT ?
"""
_DELETE = """
DELETE FROM runs INDEXED BY runs_by_id
WHERE id = ? AND status IN ('completed', 'failed', 'cancelled') AND finished_at < ?
RETURNING length(detail)
"""


def delete(connection: sqlite3.Connection, run_ids: Sequence[str], before: datetime) -> int:
    """Delete the first of these runs, until that is as much as MAX_ROWS; return how many runs.

    Those that did not finish before `before` count, and stay.
    """
    rows = 0
    for number, run_id in enumerate(run_ids):
        if rows >= MAX_ROWS:
            return number
        rows += _delete_one(connection, run_id, before)
    counters.forget_hours(connection, before=before)
    return len(run_ids)


def _delete_one(connection: sqlite3.Connection, run_id: str, before: datetime) -> int:
    """Delete a run with all it owns; return how much that was, in small rows."""
    deleted = connection.execute(_DELETE, (run_id, to_milliseconds(before))).fetchone()
    if deleted is None:
        return 0
    uploads.release(connection, run_id)
    owned = belongings.delete(connection, run_id) + blob_refs.remove(connection, run_id)
    return owned + belongings.small_rows(deleted[0])
