"""The supervisors that a zygote has: who starts, who is ready, who has a run."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from lib.sandbox.intake import READY, RUN


class Supervisors:
    """Lines to them, by pid, and what they said last.

    Args:
        poll: Is kept to look at their lines.
        at_least: How many there are to be.
    """

    def __init__(self, poll: select.poll, *, at_least: int) -> None:
        self._poll = poll
        self._at_least = at_least
        self._lines: dict[int, socket.socket] = {}
        self._starting: set[int] = set()
        self._ready: deque[int] = deque()  # longest first: what its worker prepares is done, too

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def pids(self) -> frozenset[int]:
        """All that have not been reaped."""
        return frozenset(self._lines)

    @property
    def has_ready(self) -> bool:
        """Whether one waits for a run."""
        return bool(self._ready)

    def are_too_few(self, has_callers: Callable[[], bool]) -> bool:
        """Whether there are too few of them, or too few that will be free soon.

        Args:
            has_callers: Whether a run waits for one; only asked where it matters.
        """
        free = len(self._ready) + len(self._starting)
        if free == 0 or len(self._lines) < self._at_least:
            return True
        return free < self._at_least and not self._ready and has_callers()

    def take_on(self, pid: int, line: socket.socket) -> None:
        """Add one that was forked just now."""
        self._lines[pid] = line
        self._starting.add(pid)
        self._poll.register(line, select.POLLIN)

    def hear(self, readable: AbstractSet[int]) -> None:
        """Take what they say by those of these descriptors that are their lines."""
        for pid, line in self._lines.items():
            if line.fileno() in readable:
                if _is_ready(line):
                    self._starting.discard(pid)
                    self._ready.append(pid)
                else:
                    self._hang_up(pid)

    def give(self, connection: socket.socket) -> bool:
        """Pass a connection on to the one that has been ready longest; it stays open here.

        Returns:
            False when that one was killed just now.

        Raises:
            IndexError: none is ready.
            OSError: the kernel lacks something; it is still ready.
        """
        pid = self._ready[0]
        try:
            socket.send_fds(self._lines[pid], [RUN], [connection.fileno()])
        except (BrokenPipeError, ConnectionResetError):
            self._hang_up(pid)
            return False
        self._ready.popleft()
        return True

    def dismiss_surplus(self) -> None:
        """Have those end that a burst needed."""
        busy = len(self._lines) - len(self._ready)
        self._dismiss_until(max(1, self._at_least - busy))

    def dismiss_all(self) -> None:
        """Have all end that have no run."""
        self._dismiss_until(0)

    def remove(self, pid: int) -> bool:
        """Take off the list who was reaped, if on it; return whether it was still starting."""
        was_starting = pid in self._starting
        if pid in self._lines:
            self._hang_up(pid)
            del self._lines[pid]
        return was_starting

    def forget_lines(self) -> None:
        """In a child of the zygote: let go of the descriptors, which are closed in another way."""
        for line in self._lines.values():
            line.detach()

    def _dismiss_until(self, left: int) -> None:
        while len(self._ready) > left:
            self._hang_up(self._ready[-1])

    def _hang_up(self, pid: int) -> None:
        """It ends, if it has not already, and will be reaped."""
        line = self._lines[pid]
        if line.fileno() >= 0:
            self._poll.unregister(line)
            line.close()
        self._starting.discard(pid)
        with contextlib.suppress(ValueError):
            self._ready.remove(pid)


def _is_ready(line: socket.socket) -> bool:
    """Whether a supervisor says that it is ready; else it has ended."""
    with contextlib.suppress(ConnectionResetError):
        return line.recv(len(READY)) == READY
    return False
