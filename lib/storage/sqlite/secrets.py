"""Sealed secret values in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from lib.clock import from_milliseconds, to_milliseconds
from lib.storage.records import SealedValue, SecretInfo
from lib.storage.sqlite.database import SqliteDatabase

FIND = "SELECT key_id, nonce, box FROM secrets WHERE name = ?"
USE = """
UPDATE secrets SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE name = ?
RETURNING key_id, nonce, box
"""
FIND_CHECK = "SELECT key_id, nonce, box FROM secret_check WHERE id = 1"
LIST = "SELECT name, updated_at, last_used_at FROM secrets ORDER BY name"
_PUT = """
INSERT INTO secrets (name, updated_at, key_id, nonce, box) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at, key_id = excluded.key_id,
nonce = excluded.nonce, box = excluded.box
"""
_PUT_CHECK = "INSERT OR IGNORE INTO secret_check (id, key_id, nonce, box) VALUES (1, ?, ?, ?)"
_DELETE = "DELETE FROM secrets WHERE name = ?"
_DELETE_CHECK = "DELETE FROM secret_check WHERE NOT is_kept AND NOT EXISTS (SELECT 1 FROM secrets)"
_KEEP_CHECK = """
INSERT INTO secret_check (id, key_id, nonce, box, is_kept) VALUES (1, ?, ?, ?, 1)
ON CONFLICT (id) DO UPDATE SET is_kept = 1
"""


class SqliteSealedSecretStore:
    """A SealedSecretStore."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def take(self, names: Sequence[str], *, at: datetime | None) -> Mapping[str, SealedValue]:
        """Return those of `names` that are stored; `at` is their last use."""
        if at is None:
            with self._database.snapshot() as connection:
                return _each(connection, names, FIND)
        used_at = to_milliseconds(at)
        return self._database.write(lambda connection: _each(connection, names, USE, used_at))

    def put(self, name: str, sealed: SealedValue, *, at: datetime, check: SealedValue) -> None:
        """Store a value, and with the first one the check record."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, (name, to_milliseconds(at), *_columns(sealed)))
            connection.execute(_PUT_CHECK, _columns(check))

        self._database.write(operation)

    def delete(self, name: str) -> bool:
        """Remove a value, the last one with a check record that is not kept."""

        def operation(connection: sqlite3.Connection) -> bool:
            deleted = connection.execute(_DELETE, (name,)).rowcount == 1
            connection.execute(_DELETE_CHECK)
            return deleted

        return self._database.write(operation)

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        return [
            SecretInfo(
                name,
                from_milliseconds(updated_at),
                None if last_used_at is None else from_milliseconds(last_used_at),
            )
            for name, updated_at, last_used_at in self._database.read(LIST)
        ]

    def keep_check(self, check: SealedValue) -> None:
        """Keep the check record for good; `check` where there is none."""
        self._database.write(lambda connection: connection.execute(_KEEP_CHECK, _columns(check)))

    def find_check(self) -> SealedValue | None:
        """Return the check record, if there is one."""
        rows = self._database.read(FIND_CHECK)
        return SealedValue(*rows[0]) if rows else None


def _each(
    connection: sqlite3.Connection, names: Sequence[str], statement: str, *values: int
) -> dict[str, SealedValue]:
    rows = {name: connection.execute(statement, (*values, name)).fetchone() for name in names}
    return {name: SealedValue(*row) for name, row in rows.items() if row is not None}


def _columns(sealed: SealedValue) -> tuple[str, bytes, bytes]:
    return sealed.key_id, sealed.nonce, sealed.box
