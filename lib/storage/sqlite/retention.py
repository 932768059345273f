"""Deleting what is past its time."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.sqlite import belongings, blob_refs, counters

LIST_FINISHED = """
SELECT id FROM runs INDEXED BY runs_finished
WHERE status IN ('completed', 'failed', 'cancelled') AND finished_at < ?
ORDER BY finished_at LIMIT ?
"""
_DELETE = "DELETE FROM runs WHERE id = ?"


def delete_finished(
    connection: sqlite3.Connection, before: datetime, limit: int
) -> tuple[list[str], list[str]]:
    """Delete the runs that finished first; return them and the blobs nobody names."""
    rows = connection.execute(LIST_FINISHED, (to_milliseconds(before), limit)).fetchall()
    run_ids = [row[0] for row in rows]
    for run_id in run_ids:
        belongings.delete(connection, run_id)
        blob_refs.remove(connection, run_id)
        connection.execute(_DELETE, (run_id,))
    counters.forget_hours(connection, before=before)
    return run_ids, blob_refs.take_released(connection)
