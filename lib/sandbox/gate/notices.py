"""Lines for the run's log, written to a pipe that the supervisor reads."""

from __future__ import annotations

import contextlib
import os
from typing import Final

MAX_NOTICES: Final = 100  # a worker that scans a network must not fill the log
MAX_BYTES: Final = 512  # below PIPE_BUF: a line is written whole or not at all
_LAST: Final = "further refusals of the egress proxy are not shown"


class Notices:
    """Tells the supervisor each thing once, and no more than MAX_NOTICES of them.

    Args:
        descriptor: The pipe's write end; None tells nobody.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._told: set[str] = set()
        if descriptor is not None:
            os.set_blocking(descriptor, False)

    def tell(self, text: str) -> None:
        """Write one line, unless it has been said; never waits, never fails."""
        if text in self._told or len(self._told) > MAX_NOTICES:
            return
        self._told.add(text)
        self._write(text if len(self._told) <= MAX_NOTICES else _LAST)

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            return
        line = text.encode("ascii", "backslashreplace")[: MAX_BYTES - 1].replace(b"\n", b" ")
        with contextlib.suppress(OSError):  # full, or nobody reads it
            os.write(self._descriptor, line + b"\n")
