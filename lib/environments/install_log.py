"""What an installer wrote: masked, and no more of it than anybody reads."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from lib.secrets.mask import Mask

MAX_HEAD_LINES: Final = 500
MAX_TAIL_LINES: Final = 500
MAX_LINE_CHARACTERS: Final = 2_000
MAX_MESSAGE_LINES: Final = 12
MAX_MESSAGE_CHARACTERS: Final = 1_500

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
# Where uv and npm begin to say what went wrong.
_CAUSE: Final = re.compile(r"\s*(error\b|\u00d7|npm (error|ERR!)|No connection:)", re.IGNORECASE)
_NOISE: Final = re.compile(r"npm (error|ERR!)\s+(A complete log of this run|Log files were not)")


class InstallLog:
    """Lines of one installation, its head and its tail.

    Args:
        mask: Hides the passwords that the installer was given.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=MAX_TAIL_LINES)
        self._count = 0

    def add(self, line: str) -> None:
        """Take one line."""
        # Masked before it is cut, so that no piece of a password is left.
        line = self._mask.text(_CONTROL.sub("", line))[:MAX_LINE_CHARACTERS]
        self._count += 1
        if len(self._head) < MAX_HEAD_LINES:
            self._head.append(line)
        else:
            self._tail.append(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines that were kept, and how many were not."""
        dropped = self._count - len(self._head) - len(self._tail)
        gap = [f"{dropped} lines dropped"] if dropped else []
        return (*self._head, *gap, *self._tail)

    @property
    def message(self) -> str:
        """The installer's own words about its failure; empty where it said none."""
        lines = [line for line in self.lines if line.strip() and not _NOISE.match(line)]
        first = next((n for n, line in enumerate(lines) if _CAUSE.match(line)), 0)
        # From the first cause on; of many lines the last, which sum up.
        words = "\n".join(lines[first:][-MAX_MESSAGE_LINES:]).strip()
        return words[-MAX_MESSAGE_CHARACTERS:]
