"""Counts of calls in memory."""

from __future__ import annotations

import threading
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.rate_windows import window_end


class MemoryRateStore:
    """A RateStore of one dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits: dict[tuple[int, str], int] = {}

    def hit(self, key: str, *, now: datetime, window_seconds: int) -> int:
        """Count one more, atomically; return how many there are in the window of `now`."""
        counted = (window_end(now, window_seconds), key)
        with self._lock:
            hits = self._hits[counted] = self._hits.get(counted, 0) + 1
            return hits

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` counts of windows that are over; return how many went."""
        with self._lock:
            over = sorted(each for each in self._hits if each[0] <= to_milliseconds(now))[:limit]
            for each in over:
                del self._hits[each]
        return len(over)
