"""Log lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lib.storage.records import LogLevel, LogLine


class LogStore(Protocol):
    """Log lines of runs. Appending the same `seq` again changes nothing."""

    def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Add lines, in ascending `seq`, above all that are there."""
        ...

    def tail(self, run_id: str, *, limit: int) -> list[LogLine]:
        """Return the last lines, oldest first."""
        ...

    def last_seq(self, run_id: str) -> int:
        """Return the highest `seq` stored, 0 when there is none."""
        ...

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete all lines of these runs, in transactions none of which is long."""
        ...

    def list(
        self, run_id: str, *, after: int = 0, limit: int, level: LogLevel | None = None
    ) -> list[LogLine]:
        """Return lines with `seq` above `after`, oldest first.

        `level` means this level and the more severe ones.
        """
        ...
