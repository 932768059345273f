"""The file of a log, to which a full disk is no error: lines wait, and in the end are lost.

The disk may be full by the worker's own making, and its log must not cost the
run its outcome. What the file does not take is kept, to the byte, so that a half
line is gone on with where it stopped; beyond a bound, lines are counted only.
"""

from __future__ import annotations

import os
from typing import Final

FLUSH_BYTES: Final = 64 * 1024
MAX_PENDING_BYTES: Final = 1024 * 1024


class LogFile:
    """Appends whole lines to an open file, of which it holds at most a bound and one line.

    Attributes:
        lost_lines: How many were not written and will not be.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._pending = bytearray()
        self._is_refused = False
        self.lost_lines = 0

    @property
    def needs_flush(self) -> bool:
        """Whether enough has gathered to be written at once, and the disk took what came before."""
        return len(self._pending) >= FLUSH_BYTES and not self._is_refused

    def add(self, line: bytes) -> None:
        """Take a line, with its newline."""
        if len(self._pending) >= MAX_PENDING_BYTES:
            if not self._is_refused:  # else the next flush tries: a write for each line is slow
                self.flush()
            if len(self._pending) >= MAX_PENDING_BYTES:
                self.lost_lines += 1
                return
        self._pending += line

    def flush(self) -> bool:
        """Write what has gathered, as far as the disk takes it; return whether any was."""
        written = 0
        self._is_refused = False
        with memoryview(self._pending) as view:
            try:
                while written < len(view):
                    written += os.write(self._file, view[written:])
            except OSError:
                self._is_refused = True
        del self._pending[:written]
        return written > 0

    def let_go(self) -> None:
        """Count what could not be written as lost. Half a line may stand at the file's end."""
        self.lost_lines += self._pending.count(b"\n")
        self._pending.clear()

    def close(self) -> None:
        """Close it."""
        os.close(self._file)
