"""Which rows name which blobs, so that a blob goes when nobody names it.

A name is (owner, item, sha256). The owner is what is deleted as a whole: a run,
an idempotency claim, an upload. The item is the part of it that was replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_LIST = "SELECT sha256 FROM blob_refs WHERE owner = ? AND item = ?"
_ADD = "INSERT INTO blob_refs (owner, item, sha256) VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM blob_refs WHERE owner = ? AND item = ? AND sha256 = ?"
_REMOVE_OWNER = "DELETE FROM blob_refs WHERE owner = ? RETURNING sha256"
_RELEASE = """
INSERT OR IGNORE INTO released_blobs (sha256)
SELECT ?1 WHERE NOT EXISTS (
    SELECT 1 FROM blob_refs INDEXED BY blob_refs_by_sha256 WHERE sha256 = ?1
)
"""
_KEEP = "DELETE FROM released_blobs WHERE sha256 = ?"
_TAKE = "DELETE FROM released_blobs RETURNING sha256"


def replace(connection: sqlite3.Connection, owner: str, item: str, named: set[str]) -> None:
    """Make `named` the blobs that this part of `owner` names."""
    before = {row[0] for row in connection.execute(_LIST, (owner, item))}
    for sha256 in named - before:
        connection.execute(_ADD, (owner, item, sha256))
        connection.execute(_KEEP, (sha256,))
    gone = before - named
    connection.executemany(_REMOVE, [(owner, item, sha256) for sha256 in gone])
    _release(connection, gone)


def remove(connection: sqlite3.Connection, owner: str) -> None:
    """Forget every name that `owner` gave."""
    _release(connection, {row[0] for row in connection.execute(_REMOVE_OWNER, (owner,)).fetchall()})


def take_released(connection: sqlite3.Connection) -> list[str]:
    """Return the blobs that lost their last name, and forget them."""
    return sorted(row[0] for row in connection.execute(_TAKE).fetchall())


def _release(connection: sqlite3.Connection, gone: Iterable[str]) -> None:
    connection.executemany(_RELEASE, [(sha256,) for sha256 in gone])
