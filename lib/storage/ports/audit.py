"""The audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.ports.pages import Page


class AuditStore(Protocol):
    """Entries are added and read; none is changed, and only age takes them away."""

    def append(self, entry: AuditEntry) -> None:
        """Add an entry; durable when this returns."""
        ...

    def list(self, query: AuditQuery, *, limit: int, after: str | None = None) -> Page[AuditEntry]:
        """Return at most `limit` entries, newest first, below id `after`.

        Each combination of filters costs the same at any depth. `since` and
        `until` are held against the times in the ids.
        """
        ...

    def delete_before(self, at: datetime, *, limit: int) -> int:
        """Delete up to `limit` of the oldest entries made before `at`; return how many."""
        ...
