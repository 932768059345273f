"""Secret values in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from lib.storage.records import SecretInfo


class MemorySecretStore:
    """A SecretStore; nothing is encrypted, nothing is written anywhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, tuple[str, datetime]] = {}

    def values(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the values of those names that are stored, for one run."""
        with self._lock:
            return {name: self._values[name][0] for name in names if name in self._values}

    def put(self, name: str, value: str, *, at: datetime) -> None:
        """Store a value, replacing an older one."""
        with self._lock:
            self._values[name] = (value, at)

    def delete(self, name: str) -> bool:
        """Remove a value; False when there was none."""
        with self._lock:
            return self._values.pop(name, None) is not None

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        with self._lock:
            return [SecretInfo(name, at) for name, (_, at) in sorted(self._values.items())]
