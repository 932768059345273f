"""Which records name which blobs, for stores in memory that share blobs."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class MemoryBlobReferences:
    """Names of blobs by owner and item; see `lib/storage/sqlite/blob_refs.py`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[tuple[str, str], set[str]] = {}
        self._swept_to = ""

    def replace(self, owner: str, item: str, named: set[str]) -> None:
        """Make `named` the blobs that this part of `owner` names."""
        with self._lock:
            self._named[owner, item] = set(named)

    def remove(self, owner: str) -> None:
        """Forget every name that `owner` gave."""
        with self._lock:
            self._named = {key: named for key, named in self._named.items() if key[0] != owner}

    def find_unnamed(self, sha256s: Sequence[str]) -> set[str]:
        """Return those of these blobs that no record names."""
        with self._lock:
            return {*sha256s}.difference(*self._named.values())

    def swept_to(self) -> str:
        """Return the SHA-256 up to which the round has come."""
        return self._swept_to

    def mark_swept(self, up_to: str) -> None:
        """Record how far the round has come."""
        self._swept_to = up_to
