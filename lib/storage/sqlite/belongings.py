"""What belongs to a run: its events, artifacts, approvals, feedback, and its report."""

from __future__ import annotations

import sqlite3

from lib.storage.blob_names import named_by_belongings
from lib.storage.documents import ARTIFACTS, EVENTS
from lib.storage.records import RunChange
from lib.storage.sqlite import approval_rows, blob_refs, failure_reports, feedback, logs

_ADD_EVENT = "INSERT INTO run_events (run_id, seq, document) VALUES (?, ?, ?)"
_PUT_ARTIFACT = """
INSERT OR REPLACE INTO artifacts (run_id, name, document, data) VALUES (?, ?, ?, ?)
"""

LIST_EVENTS = "SELECT document FROM run_events WHERE run_id = ? AND seq > ? ORDER BY seq"
LIST_ARTIFACTS = "SELECT document FROM artifacts WHERE run_id = ? ORDER BY name"
FIND_ARTIFACT = "SELECT document, data FROM artifacts WHERE run_id = ? AND name = ?"

_DELETE = (
    "DELETE FROM run_events WHERE run_id = ? RETURNING 0",
    "DELETE FROM artifacts WHERE run_id = ? RETURNING ifnull(length(data), 0)",
    "DELETE FROM approvals WHERE run_id = ? RETURNING length(document)",
)
_PAGE_BYTES = 4096
_ROWS_A_PAGE = 8  # as long as that does it take to give a page back


def add(connection: sqlite3.Connection, change: RunChange) -> None:
    """Keep what came into being with a change of a run, and the blobs it names."""
    run = change.run
    for event in change.events:
        connection.execute(_ADD_EVENT, (run.id, event.seq, EVENTS.encode(event)))
    logs.append(connection, run.id, change.lines)
    for artifact in change.artifacts:
        values = (run.id, artifact.name, ARTIFACTS.encode(artifact), artifact.data)
        connection.execute(_PUT_ARTIFACT, values)
    if change.approval is not None:
        approval_rows.put(connection, change.approval)
    failure_reports.add(connection, change)
    for item, named in named_by_belongings(change):
        blob_refs.replace(connection, run.id, item, named)


def small_rows(size_bytes: int) -> int:
    """Return how many small rows are deleted in the time that one of this size takes."""
    return 1 + _ROWS_A_PAGE * (size_bytes // _PAGE_BYTES)


def delete(connection: sqlite3.Connection, run_id: str) -> int:
    """Delete all that belongs to a run, but its blobs; return how much that was, in small rows."""
    sizes = [row[0] for each in _DELETE for row in connection.execute(each, (run_id,))]
    own = sum(map(small_rows, sizes))
    return own + feedback.delete(connection, run_id) + failure_reports.delete(connection, run_id)
