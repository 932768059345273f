"""The moment a server starts to stop, known to everything that waits.

A server waits for open requests before it ends, so event streams and long
polls must hear of the end first: whoever takes the signal calls `begin`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Shutdown:
    """Set once; wakes every waiter, on whichever event loop it waits."""

    def __init__(self) -> None:
        self._waiters: set[_Waiter] = set()
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether the server is stopping."""
        return self._has_begun

    def begin(self) -> None:
        """Wake all waiters; safe from any thread and from a signal handler."""
        self._has_begun = True
        for waiter in tuple(self._waiters):
            waiter.wake()

    async def wait(self) -> None:
        """Return when the server starts to stop."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not future.done():
                future.set_result(None)

        with self._calling(end):
            await future

    @contextmanager
    def cutting(self, limit: asyncio.Timeout) -> Iterator[None]:
        """End a time limit when the server starts to stop; around what waits within it."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            with suppress(RuntimeError):  # it has ended by itself
                limit.reschedule(loop.time())

        with self._calling(end):
            yield

    @contextmanager
    def _calling(self, act: Callable[[], object]) -> Iterator[None]:
        """Have the running loop call `act` when the server starts to stop, or soon if it has."""
        waiter = _Waiter(asyncio.get_running_loop(), act)
        self._waiters.add(waiter)
        try:
            if self._has_begun:  # looked at after joining: `begin` may run in between
                waiter.wake()
            yield
        finally:
            self._waiters.discard(waiter)


class _Waiter:
    """Something to be called on an event loop; more than once, if need be."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
        self._loop = loop
        self._act = act

    def wake(self) -> None:
        """Have it called; from any thread, and from a signal handler."""
        with suppress(RuntimeError):  # its loop has closed
            self._loop.call_soon_threadsafe(self._act)
