"""Limits of how often an operation may be called."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from lib.clock import Clock, to_milliseconds
from lib.errors import RateLimited
from lib.storage.ports import RateStore
from lib.storage.rate_windows import window_end


@dataclass(frozen=True)
class RateLimit:
    """How often one caller may call an operation.

    Counted for the route's template and the caller: the principal's user id, on
    a public route the client's address. Methods and operations of one template
    count together.

    Attributes:
        most: Calls in a window.
        per_seconds: Length of the windows, which are fixed.
        by: Name of the path parameter that is counted for instead, for senders
            that call from many addresses.
    """

    most: int
    _: KW_ONLY
    per_seconds: int
    by: str | None = None

    def __post_init__(self) -> None:
        if self.most < 1 or self.per_seconds < 1:
            raise ValueError("a limit lets through at least one call, in at least a second")


class RateLimits:
    """Counts calls in the shared store."""

    def __init__(self, store: RateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def count(self, limit: RateLimit, template: str, subject: str) -> None:
        """Count a call; blocks.

        Raises:
            RateLimited: it is one too many.
            StoreUnavailable: nobody knows.
        """
        now = self._clock.now()
        seconds = limit.per_seconds
        if self._store.hit(f"{template} {subject}", now=now, window_seconds=seconds) > limit.most:
            detail = (
                f"This may be called {limit.most:,} times in {seconds:,} seconds; wait a while."
            )
            wait = seconds_to(window_end(now, seconds), self._clock)
            raise RateLimited(detail, retry_after_seconds=wait)


def seconds_to(end: int, clock: Clock) -> int:
    """Return the whole seconds, at least one, until a time in milliseconds since the epoch."""
    return max(1, -((to_milliseconds(clock.now()) - end) // 1000))
