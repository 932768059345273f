"""Secret values in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from lib.storage.records import SecretInfo


class MemorySecretStore:
    """A SecretStore; nothing is encrypted, nothing is written anywhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}
        self._known: dict[str, SecretInfo] = {}

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        """Return the values of those names that are stored."""
        with self._lock:
            found = {name: self._values[name] for name in names if name in self._values}
            for name in found:
                self._known[name] = _used(self._known[name], at)
            return found

    def put(self, name: str, value: str, *, at: datetime) -> None:
        """Store a value, replacing an older one; its last use stays."""
        with self._lock:
            self._values[name] = value
            known = self._known.get(name, SecretInfo(name, at))
            self._known[name] = replace(known, updated_at=at)

    def delete(self, name: str) -> bool:
        """Remove a value; False when there was none."""
        with self._lock:
            self._known.pop(name, None)
            return self._values.pop(name, None) is not None

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        with self._lock:
            return [known for _, known in sorted(self._known.items())]


def _used(known: SecretInfo, at: datetime | None) -> SecretInfo:
    if at is None or (known.last_used_at is not None and known.last_used_at >= at):
        return known
    return replace(known, last_used_at=at)
