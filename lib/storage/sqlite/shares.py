"""Public links to workers in SQLite."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from lib.storage.documents import SHARES
from lib.storage.records import Share
from lib.storage.sqlite.database import SqliteDatabase

FIND = "SELECT document FROM shares INDEXED BY shares_by_token WHERE token = ?"
_GET = "SELECT token FROM shares WHERE worker_id = ?"
_LIST = "SELECT document FROM shares ORDER BY worker_id"
_PUT = "INSERT OR REPLACE INTO shares (worker_id, token, document) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM shares WHERE worker_id = ?1 AND token = coalesce(?2, token)"


class SqliteShareStore:
    """A ShareStore."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def put(self, share: Share) -> Share:
        """Store a link, atomically; one that the worker has keeps its token and moves."""

        def operation(connection: sqlite3.Connection) -> Share:
            row = connection.execute(_GET, (share.worker_id,)).fetchone()
            kept = replace(share, token=row[0]) if row else share
            values = (kept.worker_id, kept.token, SHARES.encode(kept))
            connection.execute(_PUT, values)
            return kept

        return self._database.write(operation)

    def find(self, token: str) -> Share | None:
        """Return the link with this token, if there is one."""
        rows = self._database.read(FIND, (token,))
        return SHARES.decode(rows[0][0]) if rows else None

    def list(self) -> tuple[Share, ...]:
        """Return all links, by worker."""
        return tuple(SHARES.decode(row[0]) for row in self._database.read(_LIST, ()))

    def delete(self, worker_id: str, *, token: str | None = None) -> bool:
        """Revoke a worker's link, whatever its token unless one is given; False for none."""
        return self._database.write(
            lambda connection: connection.execute(_DELETE, (worker_id, token)).rowcount > 0
        )
