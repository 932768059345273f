"""Public links to workers in memory."""

from __future__ import annotations

import threading
from dataclasses import replace

from lib.storage.records import Share


class MemoryShareStore:
    """A ShareStore of one dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[str, Share] = {}

    def put(self, share: Share) -> Share:
        """Store a link, atomically; one that the worker has keeps its token and moves."""
        with self._lock:
            known = self._shares.get(share.worker_id)
            kept = replace(share, token=known.token) if known else share
            self._shares[share.worker_id] = kept
            return kept

    def find(self, token: str) -> Share | None:
        """Return the link with this token, if there is one."""
        with self._lock:
            return next((each for each in self._shares.values() if each.token == token), None)

    def list(self) -> tuple[Share, ...]:
        """Return all links, by worker."""
        with self._lock:
            return tuple(self._shares[worker_id] for worker_id in sorted(self._shares))

    def delete(self, worker_id: str, *, token: str | None = None) -> bool:
        """Revoke a worker's link, whatever its token unless one is given; False for none."""
        with self._lock:
            known = self._shares.get(worker_id)
            if known is None or token not in {None, known.token}:
                return False
            del self._shares[worker_id]
            return True
