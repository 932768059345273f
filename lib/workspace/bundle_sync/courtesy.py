"""Fairness between machines: who keeps losing says so, and winners let one move pass.

Without it a machine near the store publishes again before one that is further away
has read the pointer, and that one loses for as long as there is something to do.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Final

from lib.clock import Clock, rfc3339
from lib.errors import FloomError
from lib.workspace.bundle_sync.depot import Depot

LOSSES: Final = 2  # in a row, before a writer says that it waits
_POLL_SECONDS: Final = 0.05
_POLLS: Final = 20


class Courtesy:
    """What one writer does for the others, and asks of them.

    Args:
        depot: Where the notes are.
        writer: Names this one.
        clock: Dates the notes.
        wait: Sleeps for so many seconds.
    """

    def __init__(
        self,
        depot: Depot,
        writer: str,
        clock: Clock,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._depot = depot
        self._writer = writer
        self._clock = clock
        self._wait = wait
        self._losses = 0
        self._seen: bytes | None = None
        self._has_looked = False
        self._owes = False
        self._lock = threading.Lock()

    def look(self) -> None:
        """See whether somebody waits; what cannot be read is no reason to."""
        try:
            note = self._depot.read_wait()
        except FloomError:
            return
        with self._lock:
            # the first one may be as old as the store, and clocks differ
            if self._has_looked and note is not None and note != self._seen:
                self._owes = self._owes or self._is_to_us(note)
            self._seen, self._has_looked = note, True

    def let_pass(self, has_moved: Callable[[], bool]) -> None:
        """Where somebody waits: give them until the pointer has moved, or about a second."""
        with self._lock:
            owes, self._owes = self._owes, False
        for _ in range(_POLLS if owes else 0):
            if has_moved():
                return
            self._wait(_POLL_SECONDS)

    def lost(self) -> None:
        """Another came first; the second time in a row a note is left."""
        self._losses += 1
        if self._losses % LOSSES:
            return
        note = {"writer": self._writer, "at": rfc3339(self._clock.now())}
        try:
            self._depot.put_wait(json.dumps(note).encode())
        except FloomError:
            return  # then we go on losing for a while

    def won(self) -> None:
        """We came first."""
        self._losses = 0

    def _is_to_us(self, note: bytes) -> bool:
        """Whether somebody else left it."""
        try:
            return bool(json.loads(note)["writer"] != self._writer)
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
