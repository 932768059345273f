"""Which rows name which blobs, so that a blob goes when nobody names it.

A name is (owner, item, sha256). The owner is what is deleted as a whole: a run,
an idempotency claim, an upload. The item is the part of it that was replaced.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from lib.storage.sqlite.database import SqliteDatabase

FIND_UNNAMED = """
SELECT value FROM json_each(?) WHERE NOT EXISTS (
    SELECT 1 FROM blob_refs INDEXED BY blob_refs_by_sha256 WHERE sha256 = value
)
"""
SWEPT_TO = "SELECT swept_to FROM blob_sweep WHERE id = 1"
_MARK_SWEPT = "UPDATE blob_sweep SET swept_to = ? WHERE id = 1"
_LIST = "SELECT sha256 FROM blob_refs WHERE owner = ? AND item = ?"
_ADD = "INSERT INTO blob_refs (owner, item, sha256) VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM blob_refs WHERE owner = ? AND item = ? AND sha256 = ?"
_REMOVE_OWNER = "DELETE FROM blob_refs WHERE owner = ?"


def replace(connection: sqlite3.Connection, owner: str, item: str, named: set[str]) -> None:
    """Make `named` the blobs that this part of `owner` names."""
    before = {row[0] for row in connection.execute(_LIST, (owner, item))}
    for statement, changed in ((_ADD, named - before), (_REMOVE, before - named)):
        connection.executemany(statement, [(owner, item, sha256) for sha256 in changed])


def remove(connection: sqlite3.Connection, owner: str) -> int:
    """Forget every name that `owner` gave; return how many there were."""
    return connection.execute(_REMOVE_OWNER, (owner,)).rowcount


class SqliteBlobReferences:
    """BlobReferences of every store in one database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def find_unnamed(self, sha256s: Sequence[str]) -> set[str]:
        """Return those of these blobs that no record names."""
        return {row[0] for row in self._database.read(FIND_UNNAMED, (json.dumps(sha256s),))}

    def swept_to(self) -> str:
        """Return the SHA-256 up to which the round has come."""
        found: str = self._database.read(SWEPT_TO)[0][0]
        return found

    def mark_swept(self, up_to: str) -> None:
        """Record how far the round has come."""
        self._database.write(lambda connection: connection.execute(_MARK_SWEPT, (up_to,)))
