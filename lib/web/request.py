"""A request whose body is counted while it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import falcon.asgi

from lib.errors import MalformedRequest, PayloadTooLarge
from lib.web.exchange import SCOPE_KEY, Exchange


class Request(falcon.asgi.Request):
    """Falcon's request, with our view of the connection."""

    @property
    def exchange(self) -> Exchange:
        """The exchange that this request belongs to."""
        found: Exchange = self.scope[SCOPE_KEY]
        return found

    @property
    def raw_headers(self) -> Mapping[bytes, bytes]:
        """Headers as they came: lower-case names, repeated ones joined by commas."""
        return self._asgi_headers

    def header(self, name: bytes) -> str | None:
        """Return a header's text; any byte is a character of Latin-1."""
        value = self._asgi_headers.get(name)
        return None if value is None else value.decode("latin-1").strip()

    async def read(self, cap_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            PayloadTooLarge: it is over the cap, whatever its declared length.
            MalformedRequest: the client left before it was complete.
        """
        event = self._first_event
        if event is not None and not event.get("more_body"):  # it came in one piece
            body: bytes = event.get("body", b"")
            if len(body) > cap_bytes:
                raise _too_large(cap_bytes)
            return body
        return b"".join([chunk async for chunk in self.chunks(cap_bytes)])

    async def chunks(self, cap_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; it can be read once.

        Raises:
            PayloadTooLarge: it is over the cap; raised before more is yielded.
            MalformedRequest: the client left before it was complete.
        """
        if (self.content_length or 0) > cap_bytes:
            raise _too_large(cap_bytes)
        seen = 0
        event: Mapping[str, Any] = self._first_event or await self._receive()
        while True:
            if event["type"] == "http.disconnect":
                raise MalformedRequest("The body ended before it was complete.")
            chunk: bytes = event.get("body", b"")
            seen += len(chunk)
            if seen > cap_bytes:
                raise _too_large(cap_bytes)
            if chunk:
                yield chunk
            if not event.get("more_body"):
                return
            event = await self._receive()

    async def disconnected(self) -> None:
        """Return when the client has gone; call it once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _too_large(cap_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"Send a body of at most {cap_bytes:,} bytes.")
