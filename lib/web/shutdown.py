"""The moment a server starts to stop, known to everything that waits.

A server waits for open requests before it ends, so event streams and long
polls must hear of the end first: whoever takes the signal calls `begin`.
"""

from __future__ import annotations

import asyncio


class Shutdown:
    """Set once; wakes every waiter, on whichever event loop it waits."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether the server is stopping."""
        return self._has_begun

    def begin(self) -> None:
        """Wake all waiters; safe from any thread and from a signal handler."""
        self._has_begun = True
        for waiter in tuple(self._waiters):
            _wake(waiter)

    async def wait(self) -> None:
        """Return when the server starts to stop."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            if not self._has_begun:  # looked at after joining: `begin` may run in between
                await waiter
        finally:
            self._waiters.discard(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    try:
        waiter.get_loop().call_soon_threadsafe(_resolve, waiter)
    except RuntimeError:
        return  # its loop has closed


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
