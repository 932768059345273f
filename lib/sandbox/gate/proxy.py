"""The egress proxy: HTTP CONNECT, plain HTTP and SOCKS5 on one port.

The first byte tells: 5 is SOCKS, anything else must be HTTP. Redirects are the
client's, so each new host is judged anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Final

from lib.sandbox.gate import head as heads
from lib.sandbox.gate import socks
from lib.sandbox.gate.connection import Connection, TooLong
from lib.sandbox.gate.egress import Egress, Unreachable
from lib.sandbox.gate.head import BadHead, Head
from lib.sandbox.gate.policy import BadTarget, Refused, Unresolved
from lib.sandbox.gate.relay import relay

REQUEST_SECONDS: Final = 10.0  # for the head, or for all that SOCKS says before it connects
MAX_REASON_CHARACTERS: Final = 200

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:/?#@]{1,253}\.?):([0-9]{1,5})")
_ABSOLUTE: Final = re.compile(r"http://([^/?#@]{1,260})([/?][^#]*)?", re.IGNORECASE)


class HttpRefusal(Exception):
    """The request is answered by the proxy itself, with a line of text."""

    def __init__(self, status: int, text: str, **more: str) -> None:
        super().__init__(text)
        self._status = status
        self._text = text
        self._more = more

    def render(self) -> bytes:
        """Return the whole answer.

        The reason phrase holds the text too: of a refused CONNECT most clients
        show nothing else.
        """
        reason = self._text[:MAX_REASON_CHARACTERS]
        body = f"floom egress proxy: {self._text}\n".encode("latin-1", "replace")
        return heads.render_answer(self._status, reason, body, "text/plain", **self._more)


class ProxyDoor:
    """Answers the connections of the proxy listener.

    Args:
        egress: Opens what may be opened.
    """

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def answer(self, client: Connection) -> None:
        """Serve one connection to its end."""
        async with asyncio.timeout(REQUEST_SECONDS):
            start = await client.peek()
        if start[:1] == bytes((socks.VERSION,)):
            await self._answer_socks(client)
        elif start:
            await self._answer_http(client)

    async def _answer_socks(self, client: Connection) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                host, port = await socks.read_request(client)
            upstream = await self._open_for_socks(host, port)
        except socks.SocksError as error:
            await client.send(error.answer)
            await client.finish()
            return
        async with upstream:
            await client.send(socks.reply(socks.SUCCEEDED))
            await relay(client, upstream)

    async def _open_for_socks(self, host: str, port: int) -> Connection:
        try:
            return await self._egress.open(host, port)
        except (Refused, BadTarget):
            raise socks.SocksError(socks.reply(socks.NOT_ALLOWED)) from None
        except Unresolved:
            raise socks.SocksError(socks.reply(socks.HOST_UNREACHABLE)) from None
        except Unreachable:
            raise socks.SocksError(socks.reply(socks.CONNECTION_REFUSED)) from None

    async def _answer_http(self, client: Connection) -> None:
        try:
            head = await self._read_head(client)
            method, target = heads.request_of(head)
            if method == "CONNECT":
                await self._connect(client, target)
            else:
                await self._forward(client, head, method, target)
        except BadHead as error:
            await _refuse(client, HttpRefusal(400, f"the request is malformed: {error}"))
        except HttpRefusal as refusal:
            await _refuse(client, refusal)

    async def _read_head(self, client: Connection) -> Head:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                data = await client.read_until(heads.END, heads.MAX_HEAD_BYTES)
        except TooLong:
            raise HttpRefusal(431, "the request's head is too large") from None
        return heads.parse_head(data)

    async def _connect(self, client: Connection, authority: str) -> None:
        with _answering():
            upstream = await self._egress.open(*_split(authority))
        async with upstream:
            await client.send(_ESTABLISHED)
            await relay(client, upstream)

    async def _forward(self, client: Connection, head: Head, method: str, target: str) -> None:
        """Send a request on, in the form that the next hop wants, and its answer back."""
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise HttpRefusal(400, "this is a proxy: send CONNECT host:port, or http://host/path")
        authority, path = match[1], match[2] or "/"
        form = path if path[0] == "/" else f"/{path}"
        own = [("host", authority), ("connection", "close")]
        with _answering():
            upstream, proxy = await self._egress.open_plain(*_split(_with_port(authority)))
        if proxy is not None:
            form, own = f"http://{authority}{form}", [*own, *proxy.fields]
        async with upstream:
            version = head.first.rpartition(" ")[2]
            fields = [*own, *head.without("host")]
            await upstream.send(heads.render_head(f"{method} {form} {version}", fields))
            await relay(client, upstream, preface=_pass_head)


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Turn what can go wrong with a target into the answer to it. Raises HttpRefusal."""
    try:
        yield
    except BadTarget as error:
        raise HttpRefusal(400, str(error)) from None
    except Refused as refusal:
        raise HttpRefusal(403, str(refusal)) from None
    except (Unresolved, Unreachable) as error:
        raise HttpRefusal(502, str(error)) from None


def _split(authority: str) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise HttpRefusal(400, "the target must be host:port")
    return match[1], int(match[2])


async def _pass_head(upstream: Connection, client: Connection) -> bool:
    """Pass an answer's head on, saying that the connection ends with its body.

    A client that believed it open would send its next request, to whichever
    host, on it.

    Returns:
        Whether a body may follow.
    """
    try:
        while True:
            head = heads.parse_head(await upstream.read_until(heads.END, heads.MAX_HEAD_BYTES))
            is_last = heads.status_of(head) >= 200
            more = [("connection", "close")] if is_last else []
            await client.send(heads.render_head(head.first, [*head.without(), *more]))
            if is_last:
                return True
    except (BadHead, TooLong):
        await client.send(HttpRefusal(502, "the host's answer is not HTTP/1.1").render())
        return False


async def _refuse(client: Connection, refusal: HttpRefusal) -> None:
    await client.send(refusal.render())
    await client.finish()


def _with_port(authority: str) -> str:
    """Return an authority with the port that `http` stands for, where it names none."""
    return authority if re.search(r":[0-9]+\Z", authority) else f"{authority.rstrip(':')}:80"
