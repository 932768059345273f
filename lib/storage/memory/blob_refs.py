"""Which records name which blobs, for stores in memory that share blobs."""

from __future__ import annotations

import threading


class MemoryBlobRefs:
    """Names of blobs by owner and item; see `lib/storage/sqlite/blob_refs.py`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[tuple[str, str], set[str]] = {}
        self._ever: set[str] = set()

    def replace(self, owner: str, item: str, named: set[str]) -> None:
        """Make `named` the blobs that this part of `owner` names."""
        with self._lock:
            self._named[owner, item] = set(named)
            self._ever |= named

    def remove(self, owner: str) -> None:
        """Forget every name that `owner` gave."""
        with self._lock:
            self._named = {key: named for key, named in self._named.items() if key[0] != owner}

    def take_released(self) -> list[str]:
        """Return the blobs that lost their last name, and forget them."""
        with self._lock:
            still = {sha256 for named in self._named.values() for sha256 in named}
            released = self._ever - still
            self._ever = still
            return sorted(released)
