"""The audit log in SQLite."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lib.ids import lowest_id_at
from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.documents import AUDIT_ENTRIES
from lib.storage.ports import Page
from lib.storage.sqlite.database import SqliteDatabase

_LIST: Final = "SELECT document FROM audit WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?"
_LIST_BY_USER: Final = """
SELECT document FROM audit INDEXED BY audit_by_user
WHERE user_id = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?
"""
_LIST_BY_ROUTE: Final = """
SELECT document FROM audit INDEXED BY audit_by_route
WHERE route = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?
"""
_LIST_BY_USER_AND_ROUTE: Final = """
SELECT document FROM audit INDEXED BY audit_by_user_and_route
WHERE user_id = ? AND route = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?
"""
# By whether a user and a route are asked for.
_LISTS: Final = {
    (False, False): _LIST,
    (True, False): _LIST_BY_USER,
    (False, True): _LIST_BY_ROUTE,
    (True, True): _LIST_BY_USER_AND_ROUTE,
}
DELETE: Final = """
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ? ORDER BY id LIMIT ?)
"""
_APPEND: Final = "INSERT INTO audit (id, user_id, route, document) VALUES (?, ?, ?, ?)"
_ABOVE_ALL_IDS: Final = "~"


class SqliteAuditStore:
    """An AuditStore; each entry is part of a group commit."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def append(self, entry: AuditEntry) -> None:
        """Add an entry; durable when this returns."""
        values = (entry.id, entry.user_id, entry.route, AUDIT_ENTRIES.encode(entry))
        self._database.write(lambda connection: connection.execute(_APPEND, values))

    def list(self, query: AuditQuery, *, limit: int, after: str | None = None) -> Page[AuditEntry]:
        """Return at most `limit` entries, newest first, below id `after`."""
        statement, values = plan(query, after)
        found = self._database.read(statement, (*values, limit + 1))
        rows = tuple(AUDIT_ENTRIES.decode(row[0]) for row in found[:limit])
        return Page(rows, rows[-1].id if len(found) > limit else None)

    def delete_before(self, at: datetime, *, limit: int) -> int:
        """Delete up to `limit` of the oldest entries made before `at`; return how many."""
        values = (lowest_id_at("aud", at), limit)
        return self._database.write(lambda connection: connection.execute(DELETE, values).rowcount)


def plan(query: AuditQuery, after: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the statement of a list and its values but the limit."""
    equal = tuple(value for value in (query.user_id, query.route) if value is not None)
    since = lowest_id_at("aud", query.since) if query.since else ""
    until = lowest_id_at("aud", query.until) if query.until else _ABOVE_ALL_IDS
    statement = _LISTS[query.user_id is not None, query.route is not None]
    return statement, (*equal, since, min(until, after or _ABOVE_ALL_IDS))
