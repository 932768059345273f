"""Counts of calls in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final

from lib.clock import to_milliseconds
from lib.storage.rate_windows import window_end
from lib.storage.sqlite.database import SqliteDatabase

HIT: Final = """
INSERT INTO rates (ends_at, key, hits) VALUES (?, ?, 1)
ON CONFLICT (ends_at, key) DO UPDATE SET hits = hits + 1 RETURNING hits
"""
LIST_EXPIRED: Final = """
SELECT ends_at, key FROM rates WHERE ends_at <= ? ORDER BY ends_at, key LIMIT ?
"""
_DELETE: Final = "DELETE FROM rates WHERE ends_at = ? AND key = ?"


class SqliteRateStore:
    """A RateStore."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def hit(self, key: str, *, now: datetime, window_seconds: int) -> int:
        """Count one more, atomically; return how many there are in the window of `now`."""
        values = (window_end(now, window_seconds), key)

        def operation(connection: sqlite3.Connection) -> int:
            return int(connection.execute(HIT, values).fetchone()[0])

        return self._database.write(operation)

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` counts of windows that are over; return how many went."""

        def operation(connection: sqlite3.Connection) -> int:
            over = connection.execute(LIST_EXPIRED, (to_milliseconds(now), limit)).fetchall()
            connection.executemany(_DELETE, over)
            return len(over)

        return self._database.write(operation)
