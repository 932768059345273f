"""Counting by the hour: which hours the last day and the last week are."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lib.clock import to_milliseconds

HOURS_A_DAY: Final = 24
HOURS_A_WEEK: Final = 7 * HOURS_A_DAY
_MILLISECONDS_AN_HOUR: Final = 3_600_000


def hour_of(at: datetime) -> int:
    """Return the number of the hour that `at` lies in, counted from the epoch."""
    return to_milliseconds(at) // _MILLISECONDS_AN_HOUR


def last_hours(now: datetime, count: int) -> range:
    """Return `count` hours, oldest first; the last one is the hour that has begun."""
    present = hour_of(now)
    return range(present - count + 1, present + 1)
