"""`FLOOM_API_URL`: forwards the few calls that a run may make to the server.

The server listens on a Unix socket, connected to anew for each call, so that a
restart of it is no more than an answer of 503. What is forwarded is written
anew from what was understood: method, path, a few fields, the counted body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import socket
from pathlib import Path
from typing import Final

from lib.sandbox.gate import head as heads
from lib.sandbox.gate.body import read_body
from lib.sandbox.gate.connection import Connection, TooLong
from lib.sandbox.gate.head import BadHead, Head
from lib.sandbox.gate.settings import GateSettings

MAX_BODY_BYTES: Final = 256 * 1024  # as the server's
REQUEST_SECONDS: Final = 30.0  # for the whole request to arrive
ANSWER_SECONDS: Final = 300.0  # without a byte of the answer; a tool may take its time
CONNECT_SECONDS: Final = 5.0
PROBLEM_JSON: Final = "application/problem+json"

# No cookie and no other secret: a run has its token and nothing else.
_FORWARDED: Final = frozenset(
    {"accept", "authorization", "content-type", "idempotency-key", "prefer", "user-agent"}
)
_TOKEN: Final = re.compile(r"[Bb]earer +frt_[A-Za-z0-9_-]{1,256}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def own_paths(run_id: str) -> re.Pattern[str]:
    """Return what the path of a call of this run looks like."""
    return re.compile(
        rf"(?:/v1|/api/v1)?/runs/{re.escape(run_id)}/(?:logs"
        r"|(?:tools|composio-execute)/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
        r"|calls/[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?)"
    )


class Problem(Exception):
    """A call that is answered here; its code is explained under `/problems/<code>`."""

    def __init__(self, status: int, code: str, title: str, detail: str, **more: str) -> None:
        super().__init__(detail)
        self._status = status
        self._document = {
            "type": f"/problems/{code}",
            "title": title,
            "status": status,
            "detail": detail,
            "error_code": code,
        }
        self._more = {"cache_control": "no-store", **more}

    def render(self, request_id: str) -> bytes:
        """Return the whole answer, as problem+json (RFC 9457)."""
        body = json.dumps({**self._document, "instance": request_id}).encode()
        title = str(self._document["title"])
        return heads.render_answer(
            self._status, title, body, PROBLEM_JSON, x_request_id=request_id, **self._more
        )


class _Down(Problem):
    def __init__(self, detail: str) -> None:
        super().__init__(503, "unavailable", "Not available", detail, retry_after="1")


class ApiDoor:
    """Answers the connections of the API listener.

    Args:
        settings: Of the gate; `api_socket` is set.
    """

    def __init__(self, settings: GateSettings) -> None:
        self._paths = own_paths(settings.run_id)
        self._run_id = settings.run_id
        self._socket = Path(settings.api_socket or "").name  # its folder is our working directory

    async def answer(self, client: Connection) -> None:
        """Answer one call and close."""
        request_id = secrets.token_hex(16)
        try:
            request = await self._read(client, request_id)
            async with await self._connect() as server:
                await _exchange(request, server, client)
        except Problem as problem:
            await client.send(problem.render(request_id))
        await client.finish()

    async def _read(self, client: Connection, request_id: str) -> bytes:
        """Return the request to forward. Raises Problem."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._read_request(client, request_id)
        except TooLong:
            detail = f"Send a body of at most {MAX_BODY_BYTES:,} bytes, and a shorter head."
            raise Problem(413, "payload_too_large", "Too large", detail) from None
        except BadHead as error:
            detail = f"The request is not well-formed HTTP/1.1: {error}."
            raise Problem(400, "malformed_request", "Malformed request", detail) from None

    async def _read_request(self, client: Connection, request_id: str) -> bytes:
        head = heads.parse_head(await client.read_until(heads.END, heads.MAX_HEAD_BYTES))
        method, path = heads.request_of(head)
        self._check(method, path, head)
        fields = _fields(head, request_id)
        if (head.find("expect") or "").lower() == "100-continue":
            await client.send(_CONTINUE)
        body = await read_body(client, head, MAX_BODY_BYTES)
        fields.append(("content-length", str(len(body))))
        return heads.render_head(f"POST {path} HTTP/1.1", fields) + body

    def _check(self, method: str, path: str, head: Head) -> None:
        if method != "POST" or not self._paths.fullmatch(path):
            detail = f"From within a run only POST /runs/{self._run_id}/logs can be reached."
            raise Problem(403, "forbidden", "Not allowed", detail)
        if not _TOKEN.fullmatch(head.find("authorization") or ""):
            detail = "Send the header Authorization: Bearer with the value of FLOOM_RUN_TOKEN."
            raise Problem(401, "unauthenticated", "Sign in first", detail)

    async def _connect(self) -> Connection:
        """Return a connection to the server. Raises Problem."""
        server = socket.socket(socket.AF_UNIX)
        try:
            server.setblocking(False)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(server, self._socket)
        except OSError:
            server.close()
            raise _Down("The server is not up at the moment; try again in a second.") from None
        return Connection(server)


def _fields(head: Head, request_id: str) -> list[tuple[str, str]]:
    given = head.find("x-request-id") or ""
    return [
        ("host", "localhost"),
        ("connection", "close"),
        ("x-request-id", given if _REQUEST_ID.fullmatch(given) else request_id),
        *(field for field in head.without() if field[0] in _FORWARDED),
    ]


async def _exchange(request: bytes, server: Connection, client: Connection) -> None:
    """Send the request, and pass the answer on as it comes.

    Raises:
        Problem: the server went away before it said anything.
        OSError: the client has gone, or the server has in the middle.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(ANSWER_SECONDS) as silence:
        data = await _first_words(request, server)
        while data:
            silence.reschedule(loop.time() + ANSWER_SECONDS)
            await client.send(data)
            data = await server.read()


async def _first_words(request: bytes, server: Connection) -> bytes:
    with contextlib.suppress(ConnectionError):  # it may have answered without reading all
        await server.send(request)
    with contextlib.suppress(ConnectionError):
        if data := await server.read():
            return data
    raise _Down("The server went away before it answered; the call may have been carried out.")
