"""Accepting connections: bounded in number, each served on its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Final, Protocol

from lib.sandbox.gate.connection import Connection

MAX_API_CONNECTIONS: Final = 64
MAX_PROXY_CONNECTIONS: Final = 256
PAUSE_SECONDS: Final = 0.1
_OUT_OF_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door(Protocol):
    """What answers on a listener."""

    async def answer(self, client: Connection) -> None:
        """Serve one connection. Raises OSError when it breaks."""
        ...


async def serve(listener: socket.socket, door: Door, max_connections: int) -> None:
    """Accept for ever; who comes above the number waits in the listener's queue."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(max_connections)
    tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly

    def on_end(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        room.release()

    while True:
        await room.acquire()
        task = loop.create_task(_answer(await _accept(listener), door))
        tasks.add(task)
        task.add_done_callback(on_end)


async def _accept(listener: socket.socket) -> socket.socket:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return (await loop.sock_accept(listener))[0]
        except OSError as error:  # otherwise the client left before it was accepted
            if error.errno in _OUT_OF_ROOM:
                await asyncio.sleep(PAUSE_SECONDS)


async def _answer(peer: socket.socket, door: Door) -> None:
    async with Connection(peer) as client:
        with contextlib.suppress(OSError):  # left, or kept us waiting
            await door.answer(client)
