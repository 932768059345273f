"""A transport that sends what is written in one go as one piece."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AT_ONCE_BYTES: Final = 64 * 1024  # more is not worth the copying


class GatheredTransport:
    """Holds what is written until the event loop's next turn.

    uvicorn writes the head of an answer, and then its body. Sent one by one they wake
    the client twice, and where it shares a processor with this server, it reads the head
    before the body is there.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        """Return what else a transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write; what has become much at once."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._bytes += len(data)
        if self._bytes > AT_ONCE_BYTES:
            self._flush()

    def close(self) -> None:
        """Close once all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts, self._bytes = self._parts, [], 0
        if parts and not self._transport.is_closing():  # the client may have gone meanwhile
            self._transport.write(b"".join(parts))
