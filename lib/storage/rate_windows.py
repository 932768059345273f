"""The windows in which calls are counted: fixed, aligned to the epoch, the same everywhere."""

from __future__ import annotations

from datetime import datetime

from lib.clock import to_milliseconds


def window_end(now: datetime, window_seconds: int) -> int:
    """Return when the window that holds `now` ends, in milliseconds since the epoch."""
    window = window_seconds * 1000
    return (to_milliseconds(now) // window + 1) * window
