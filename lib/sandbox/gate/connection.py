"""A non-blocking socket with a small buffer before it.

Not asyncio's streams: those read ahead, and close both directions when one
ends. Here a byte is read when there is room for it, so memory is bounded by the
number of connections, and each direction ends for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final, Self

READ_BYTES: Final = 64 * 1024
LINGER_SECONDS: Final = 2.0
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: no time to linger


class Closed(ConnectionError):
    """The peer ended the connection within a message."""


class TooLong(Exception):
    """A message is longer than it may be."""


class Connection:
    """One side of what the gate carries.

    Args:
        peer: Owned from here on.
    """

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._buffer = bytearray()  # which gives up its front without moving the rest
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def read(self) -> bytes:
        """Return what is there, at least a byte; nothing at the end of the stream."""
        if self._buffer:
            return self._take(len(self._buffer))
        return await self._loop.sock_recv(self._peer, READ_BYTES)

    async def read_exactly(self, count: int) -> bytes:
        """Return `count` bytes. Raises Closed."""
        while len(self._buffer) < count:
            await self._fill()
        return self._take(count)

    async def read_until(self, end: bytes, cap_bytes: int) -> bytes:
        """Return what comes before `end`, which is taken too.

        Raises:
            TooLong: `end` does not come within the cap.
            Closed: the stream ended first.
        """
        searched = 0
        while (at := self._buffer.find(end, searched)) < 0:
            searched = max(0, len(self._buffer) - len(end) + 1)
            if len(self._buffer) > cap_bytes:
                raise TooLong
            await self._fill()
        if at > cap_bytes:
            raise TooLong
        return self._take(at + len(end))[:at]

    async def peek(self) -> bytes:
        """Return what is there without taking it; nothing at the end of the stream."""
        if not self._buffer:
            self._buffer += await self._loop.sock_recv(self._peer, READ_BYTES)
        return bytes(self._buffer)

    async def send(self, data: bytes) -> None:
        """Send all of it; returns when the kernel has it."""
        await self._loop.sock_sendall(self._peer, data)

    def end(self) -> None:
        """Say that nothing more will be sent; the other direction stays open."""
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_WR)

    async def finish(self) -> None:
        """End, and take what the peer still sends for a moment.

        Bytes that nobody has read would make the kernel reset the connection at
        its close, and the peer lose the answer that it has not read yet.
        """
        self.end()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await self._loop.sock_recv(self._peer, READ_BYTES):
                    pass

    def reset(self) -> None:
        """Break the connection off, so that the peer sees no orderly end."""
        with contextlib.suppress(OSError):
            self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close it; idempotent."""
        self._peer.close()

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._peer, READ_BYTES)
        if not data:
            raise Closed("the peer closed the connection within a message")
        self._buffer += data
