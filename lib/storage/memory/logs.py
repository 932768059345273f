"""Log lines in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lib.storage.records import LogLevel, LogLine
from lib.storage.severity import severity


class MemoryLogStore:
    """A LogStore of one list a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, list[LogLine]] = {}

    def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Add lines, in ascending `seq`, above all that are there."""
        with self._lock:
            kept = self._lines.setdefault(run_id, [])
            last = kept[-1].seq if kept else 0
            kept.extend(line for line in lines if line.seq > last)

    def tail(self, run_id: str, *, limit: int) -> list[LogLine]:
        """Return the last lines, oldest first."""
        lines = self._all(run_id)
        return [*lines[max(0, len(lines) - limit) :]]

    def last_seq(self, run_id: str) -> int:
        """Return the highest `seq` stored, 0 when there is none."""
        lines = self._all(run_id)
        return lines[-1].seq if lines else 0

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete all lines of these runs."""
        with self._lock:
            for run_id in run_ids:
                self._lines.pop(run_id, None)

    def list(
        self, run_id: str, *, after: int = 0, limit: int, level: LogLevel | None = None
    ) -> list[LogLine]:
        """Return lines with `seq` above `after`, oldest first."""
        least = severity(level or "debug")
        wanted = (
            line for line in self._all(run_id) if line.seq > after and severity(line.level) >= least
        )
        return [line for _, line in zip(range(limit), wanted, strict=False)]

    def _all(self, run_id: str) -> tuple[LogLine, ...]:
        with self._lock:
            return tuple(self._lines.get(run_id, ()))
