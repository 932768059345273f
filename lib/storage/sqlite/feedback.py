"""Feedback on runs in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime

from lib.storage.blob_names import feedback_item, hashes_of
from lib.storage.documents import FEEDBACK
from lib.storage.feedback_rules import check_room, check_same, missing
from lib.storage.ports import Page, RunNotFound
from lib.storage.records import Feedback, IdempotencyClaim, StoredAnswer
from lib.storage.sqlite import blob_refs, claims
from lib.storage.sqlite.database import SqliteDatabase

FIND = "SELECT document FROM feedback WHERE run_id = ? AND feedback_id = ?"
LIST = """
SELECT document FROM feedback WHERE run_id = ? AND id < ? ORDER BY id DESC LIMIT ?
"""
COUNT = "SELECT feedback_count FROM runs INDEXED BY runs_by_id WHERE id = ?"
COUNT_ONE = """
UPDATE runs INDEXED BY runs_by_id SET feedback_count = feedback_count + 1
WHERE id = ? RETURNING feedback_count
"""
_INSERT = "INSERT INTO feedback (run_id, id, feedback_id, document) VALUES (?, ?, ?, ?)"
_UPDATE = "UPDATE feedback SET document = ? WHERE run_id = ? AND feedback_id = ?"
_DELETE = "DELETE FROM feedback WHERE run_id = ?"
_ABOVE_ALL_IDS = "~"


class SqliteFeedbackStore:
    """A FeedbackStore on the database of the runs.

    No list of runs shows what is written here, so the version of the run store
    stands still.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def add(
        self, feedback: Feedback, *, now: datetime, claim: IdempotencyClaim | None = None
    ) -> StoredAnswer | None:
        """Add a row to its run, and settle `claim`, as one unit."""

        def operation(connection: sqlite3.Connection) -> StoredAnswer | None:
            if claim is not None:
                answer = claims.find_answer(connection, claim.key, claim.body_digest, now=now)
                if answer is not None:
                    return answer
                claims.put(connection, claim)
            _add(connection, feedback)
            return None

        return self._database.write(operation)

    def find(self, run_id: str, feedback_id: str) -> Feedback | None:
        """Return a row by its `feedback_id`, if the run has it."""
        with self._database.reading() as connection:
            return _find(connection, run_id, feedback_id)

    def change(
        self, run_id: str, feedback_id: str, decide: Callable[[Feedback], Feedback]
    ) -> Feedback:
        """Replace a row by what `decide` makes of it, atomically; return the new one."""

        def operation(connection: sqlite3.Connection) -> Feedback:
            feedback = _find(connection, run_id, feedback_id)
            if feedback is None:
                raise missing(run_id, feedback_id)
            after = decide(feedback)
            if after != feedback:
                connection.execute(_UPDATE, (FEEDBACK.encode(after), run_id, feedback_id))
            return after

        return self._database.write(operation)

    def count(self, run_id: str) -> int:
        """Return how many rows a run has, without reading them."""
        rows = self._database.read(COUNT, (run_id,))
        return int(rows[0][0]) if rows else 0

    def list(self, run_id: str, *, limit: int, after: str | None = None) -> Page[Feedback]:
        """Return a page of a run's rows, newest first, below id `after`."""
        found = self._database.read(LIST, (run_id, after or _ABOVE_ALL_IDS, limit + 1))
        rows = tuple(FEEDBACK.decode(row[0]) for row in found[:limit])
        return Page(rows, rows[-1].id if len(found) > limit else None)


def delete(connection: sqlite3.Connection, run_id: str) -> int:
    """Delete a run's feedback, but its blobs; return how many rows that was."""
    return connection.execute(_DELETE, (run_id,)).rowcount


def _add(connection: sqlite3.Connection, feedback: Feedback) -> None:
    run_id = feedback.run_id
    known = _find(connection, run_id, feedback.feedback_id)
    if known is not None:
        check_same(known, feedback)
        return
    counted = connection.execute(COUNT_ONE, (run_id,)).fetchone()
    if counted is None:
        raise RunNotFound(f"There is no run {run_id}.")
    check_room(run_id, counted[0])
    values = (run_id, feedback.id, feedback.feedback_id, FEEDBACK.encode(feedback))
    connection.execute(_INSERT, values)
    blob_refs.replace(connection, run_id, feedback_item(feedback), hashes_of(feedback.content))


def _find(connection: sqlite3.Connection, run_id: str, feedback_id: str) -> Feedback | None:
    row = connection.execute(FIND, (run_id, feedback_id)).fetchone()
    return FEEDBACK.decode(row[0]) if row else None
