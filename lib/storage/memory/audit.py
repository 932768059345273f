"""The audit log in memory."""

from __future__ import annotations

import threading
from datetime import datetime

from lib.ids import lowest_id_at
from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.ports import Page


class MemoryAuditStore:
    """An AuditStore of one dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, AuditEntry] = {}

    def append(self, entry: AuditEntry) -> None:
        """Add an entry."""
        with self._lock:
            self._entries[entry.id] = entry

    def list(self, query: AuditQuery, *, limit: int, after: str | None = None) -> Page[AuditEntry]:
        """Return at most `limit` entries, newest first, below id `after`."""
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.id, reverse=True)
        found = [
            entry
            for entry in entries
            if (after is None or entry.id < after) and _matches(entry, query)
        ]
        return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)

    def delete_before(self, at: datetime, *, limit: int) -> int:
        """Delete up to `limit` of the oldest entries made before `at`; return how many."""
        end = lowest_id_at("aud", at)
        with self._lock:
            old = sorted(entry_id for entry_id in self._entries if entry_id < end)[:limit]
            for entry_id in old:
                del self._entries[entry_id]
        return len(old)


def _matches(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        query.user_id in (None, entry.user_id)
        and query.route in (None, entry.route)
        and (query.since is None or entry.id >= lowest_id_at("aud", query.since))
        and (query.until is None or entry.id < lowest_id_at("aud", query.until))
    )
