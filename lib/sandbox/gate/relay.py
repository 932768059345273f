"""Carrying bytes both ways until both sides have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from lib.sandbox.gate.connection import LINGER_SECONDS, Connection

IDLE_SECONDS: Final = 600.0  # with not a byte in either direction
HALF_CLOSED_SECONDS: Final = 60.0  # the same, once one side has ended

Preface = Callable[[Connection, Connection], Awaitable[bool]]


async def relay(
    client: Connection,
    upstream: Connection,
    *,
    preface: Preface | None = None,
    idle_seconds: float = IDLE_SECONDS,
    half_closed_seconds: float = HALF_CLOSED_SECONDS,
) -> None:
    """Carry bytes both ways; each direction ends for itself (half-close).

    A side that breaks off breaks the other off too, so that nobody takes half
    an answer for a whole one. Both are closed at the end.

    Args:
        client: Who asked.
        upstream: Whom it asked for.
        idle_seconds: Ends the tunnel when no byte came for so long.
        half_closed_seconds: The same, once one side has ended.
        preface: Given upstream and client before the way back begins; False
            ends it there.
    """
    tunnel = _Tunnel(idle_seconds, half_closed_seconds)
    try:
        async with asyncio.timeout(idle_seconds) as tunnel.idle, asyncio.TaskGroup() as group:
            group.create_task(tunnel.pump(client, upstream))
            group.create_task(tunnel.back(upstream, client, preface))
    except* OSError:  # a time-out is one, too
        client.reset()
        upstream.reset()
    finally:
        client.close()
        upstream.close()


class _Tunnel:
    def __init__(self, patience_seconds: float, half_closed_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._half_closed_seconds = half_closed_seconds
        self.idle: asyncio.Timeout

    async def pump(self, source: Connection, sink: Connection) -> None:
        while data := await source.read():
            self._wait_again()
            await sink.send(data)
            self._wait_again()
        sink.end()
        self._patience_seconds = min(self._patience_seconds, self._half_closed_seconds)
        self._wait_again()

    async def back(self, upstream: Connection, client: Connection, preface: Preface | None) -> None:
        if preface is None or await preface(upstream, client):
            await self.pump(upstream, client)
            return
        client.end()
        self._patience_seconds = LINGER_SECONDS
        self._wait_again()

    def _wait_again(self) -> None:
        self.idle.reschedule(asyncio.get_running_loop().time() + self._patience_seconds)
