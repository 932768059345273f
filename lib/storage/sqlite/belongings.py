"""What belongs to a run: its events, artifacts, approvals, feedback, and its report."""

from __future__ import annotations

import sqlite3

from lib.storage.blob_names import named_by_belongings
from lib.storage.documents import ARTIFACTS, EVENTS
from lib.storage.records import RunChange
from lib.storage.sqlite import approval_rows, blob_refs, failure_reports, feedback, logs

_ADD_EVENT = "INSERT INTO run_events (run_id, seq, document) VALUES (?, ?, ?)"
_PUT_ARTIFACT = "INSERT OR REPLACE INTO artifacts (run_id, name, document) VALUES (?, ?, ?)"

LIST_EVENTS = "SELECT document FROM run_events WHERE run_id = ? AND seq > ? ORDER BY seq"
LIST_ARTIFACTS = "SELECT document FROM artifacts WHERE run_id = ? ORDER BY name"
FIND_ARTIFACT = "SELECT document FROM artifacts WHERE run_id = ? AND name = ?"

_DELETE = (
    "DELETE FROM run_events WHERE run_id = ?",
    "DELETE FROM artifacts WHERE run_id = ?",
    "DELETE FROM approvals WHERE run_id = ?",
)


def add(connection: sqlite3.Connection, change: RunChange) -> None:
    """Keep what came into being with a change of a run, and the blobs it names."""
    run = change.run
    for event in change.events:
        connection.execute(_ADD_EVENT, (run.id, event.seq, EVENTS.encode(event)))
    logs.append(connection, run.id, change.lines)
    for artifact in change.artifacts:
        values = (run.id, artifact.name, ARTIFACTS.encode(artifact))
        connection.execute(_PUT_ARTIFACT, values)
    if change.approval is not None:
        approval_rows.put(connection, change.approval)
    failure_reports.add(connection, change)
    for item, named in named_by_belongings(change):
        blob_refs.replace(connection, run.id, item, named)


def delete(connection: sqlite3.Connection, run_id: str) -> int:
    """Delete all that belongs to a run, but its blobs; return how many rows that was."""
    own = sum(connection.execute(statement, (run_id,)).rowcount for statement in _DELETE)
    return own + feedback.delete(connection, run_id) + failure_reports.delete(connection, run_id)
