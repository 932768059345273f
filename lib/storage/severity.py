"""How severe a log line is: `level` filters mean this level and above."""

from __future__ import annotations

from typing import Final, get_args

from lib.storage.records import LogLevel

_LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)


def severity(level: LogLevel) -> int:
    """Return 0 for `debug` up to 3 for `error`."""
    return _LEVELS.index(level)
