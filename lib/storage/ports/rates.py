"""How often something happened of late."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class RateStore(Protocol):
    """Counts in fixed windows, shared by all servers of a store.

    Windows start at whole multiples of their length since the epoch. A key is
    always used with the same length.
    """

    def hit(self, key: str, *, now: datetime, window_seconds: int) -> int:
        """Count one more, atomically.

        Returns:
            How many there are in the window that holds `now`, this one included.
        """
        ...

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` counts of windows that are over; return how many went."""
        ...
