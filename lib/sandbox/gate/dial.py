"""Connecting to the first of several addresses that answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lib.sandbox.gate.addresses import Address

Dial = Callable[[Address, int], Awaitable[socket.socket]]

STAGGER_SECONDS: Final = 0.25  # RFC 8305, section 5: Connection Attempt Delay
DIAL_SECONDS: Final = 15.0


async def dial_first(
    addresses: Sequence[Address], port: int, dial: Dial, *, seconds: float = DIAL_SECONDS
) -> socket.socket:
    """Return a connection to one of the addresses, tried in their order.

    The next one is tried when the last has failed or kept us waiting; whichever
    answers first is taken (RFC 8305, without its sorting).

    Raises:
        OSError: none answered in time; the reason is that of the first.
    """
    race = _Race(dial, port)
    try:
        async with asyncio.timeout(seconds):
            return await race.run(addresses)
    finally:
        await race.stop()


class _Race:
    def __init__(self, dial: Dial, port: int) -> None:
        self._dial = dial
        self._port = port
        self._running: set[asyncio.Task[socket.socket]] = set()
        self._error: OSError | None = None

    async def run(self, addresses: Sequence[Address]) -> socket.socket:
        for address in addresses:
            self._running.add(asyncio.ensure_future(self._attempt(address)))
            if winner := await self._first(STAGGER_SECONDS):
                return winner
        while self._running:
            if winner := await self._first(None):
                return winner
        raise self._error or OSError("no address to connect to")

    async def stop(self) -> None:
        """Abandon the attempts that lost; close what they got after all."""
        for task in self._running:
            task.cancel()
        for result in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()

    async def _attempt(self, address: Address) -> socket.socket:
        return await self._dial(address, self._port)

    async def _first(self, seconds: float | None) -> socket.socket | None:
        """Wait for one to end; return its connection if it has one."""
        done, self._running = await asyncio.wait(
            self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        winner = None
        for task in done:
            try:
                connection = task.result()
            except OSError as error:
                self._error = self._error or error
                continue
            if winner is not None:
                connection.close()
                continue
            winner = connection
        return winner
