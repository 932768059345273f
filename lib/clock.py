"""Time, injected so that tests advance it instead of sleeping."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the code may know of time."""

    def now(self) -> datetime:
        """Return the present, aware, in UTC, cut to milliseconds."""
        ...


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        """Return the present, aware, in UTC, cut to milliseconds."""
        return from_milliseconds(time.time_ns() // 1_000_000)


class ManualClock:
    """A clock that stands until it is advanced; for tests."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time that was set last."""
        return self._now

    def advance(self, **delta: float) -> datetime:
        """Move on by `timedelta(**delta)` and return the new time."""
        self._now += timedelta(**delta)
        return self._now


def to_milliseconds(at: datetime) -> int:
    """Return whole milliseconds since the epoch, the stored form of a time."""
    return round(at.timestamp() * 1000)


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the aware UTC time of a stored one."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def rfc3339(at: datetime) -> str:
    """Return RFC 3339 in UTC with `Z` and milliseconds, the form at our edges."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def spoken(at: datetime) -> str:
    """Return a time as people write it, such as `24 November 2026, 09:05 UTC`."""
    there = at.astimezone(UTC)
    return f"{there.day} {there:%B %Y, %H:%M} UTC"
