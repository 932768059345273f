"""Failures that are to be reported, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from lib.clock import from_milliseconds, to_milliseconds
from lib.storage.records import FailureReport, RunChange
from lib.storage.sqlite.database import SqliteDatabase

LIST = "SELECT run_id, tried_since FROM failure_reports WHERE run_id > ? ORDER BY run_id LIMIT ?"
BEGIN = """
UPDATE failure_reports SET tried_since = coalesce(tried_since, ?) WHERE run_id = ?
"""
_ADD = "INSERT OR IGNORE INTO failure_reports (run_id) VALUES (?)"
_DELETE = "DELETE FROM failure_reports WHERE run_id = ?"


class SqliteFailureReportStore:
    """A FailureReportStore on the database of the runs."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def list(self, *, limit: int, after: str = "") -> Sequence[FailureReport]:
        """Return reports by run id, those above `after`."""
        rows = self._database.read(LIST, (after, limit))
        return [
            FailureReport(run_id, None if since is None else from_milliseconds(since))
            for run_id, since in rows
        ]

    def begin(self, run_id: str, *, at: datetime) -> None:
        """Record that the issue may be in git from `at` on; an earlier time stays."""
        values = (to_milliseconds(at), run_id)
        self._database.write(lambda connection: connection.execute(BEGIN, values))

    def settle(self, run_id: str) -> None:
        """Take the report away; idempotent."""
        self._database.write(lambda connection: delete(connection, run_id))


def add(connection: sqlite3.Connection, change: RunChange) -> None:
    """Keep the report that a change of a run brings, if it does."""
    if change.reports_failure:
        connection.execute(_ADD, (change.run.id,))


def delete(connection: sqlite3.Connection, run_id: str) -> int:
    """Take a run's report away; return how many there were."""
    return connection.execute(_DELETE, (run_id,)).rowcount
