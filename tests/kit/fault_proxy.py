"""A proxy of HTTP that does to each request what a plan says.

It stands between a client and a server on loopback, and knows nothing of either:
headers, and with them signatures, pass unchanged. What it drops it drops by closing
the connection, or, for a client with a short patience, by saying nothing until the
client has gone. Nothing in it sleeps.
"""

from __future__ import annotations

import random
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import Any, Final
from urllib.parse import urlsplit

PATIENCE_SECONDS: Final = 30


class Fault(Enum):
    """What happens to one request."""

    NONE = auto()
    CLOSED_BEFORE = auto()  # no effect, and the connection ends
    CLOSED_AFTER = auto()  # effect, and the connection ends without an answer
    SILENT_BEFORE = auto()  # no effect and no answer, until the client goes
    SILENT_AFTER = auto()  # effect and no answer, until the client goes
    LATE = auto()  # the same as CLOSED_BEFORE, but the effect comes at `release`
    TWICE = auto()  # answered, and the effect comes again at `release`
    ERROR_500 = auto()  # no effect
    ERROR_500_AFTER = auto()  # effect
    SLOW_DOWN = auto()  # 503, no effect
    CONFLICT = auto()  # 409, no effect
    TRUNCATED = auto()  # effect, and only half of the answer's body
    CORRUPTED = auto()  # effect, and one byte of the answer's body is another
    CORRUPTED_SENT = auto()  # one byte of the request's body is another


_ERRORS: Final = {
    Fault.ERROR_500: (500, "InternalError"),
    Fault.ERROR_500_AFTER: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict"),
}
_FORWARDED: Final = frozenset(Fault) - {
    Fault.CLOSED_BEFORE, Fault.SILENT_BEFORE, Fault.LATE, Fault.ERROR_500, Fault.SLOW_DOWN,
    Fault.CONFLICT,
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A server's answer to one."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


Plan = Callable[[Request], Fault]


def script(*faults: Fault) -> Plan:
    """Plan these faults for the first requests, and none for those after."""
    rest = chain(faults, repeat(Fault.NONE))
    return lambda _: next(rest)


def dice(seed: int, weights: Mapping[Fault, float]) -> Plan:
    """Plan by chance: the same for the same seed and order of requests.

    Args:
        seed: Of the chance.
        weights: Each fault's share of 1; the rest of the requests has none.
    """
    chance, faults = random.Random(seed), list(weights)
    shares = [*weights.values(), 1 - sum(weights.values())]
    return lambda _: chance.choices([*faults, Fault.NONE], shares)[0]


class FaultProxy:
    """A proxy in front of one server.

    Attributes:
        url: Its address.
        plan: Asked once a request, by one thread at a time; may be replaced.
        seen: The requests so far, and what was done to each.
    """

    def __init__(self, upstream: str, plan: Plan) -> None:
        self.plan = plan
        self.seen: list[tuple[Request, Fault]] = []
        self._upstream = urlsplit(upstream).netloc
        self._held: list[Request] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def release(self) -> list[int]:
        """Let the late effects happen, in order; return the server's status codes."""
        with self._lock:
            held, self._held = self._held, []
        return [self.forward(request).status for request in held]

    def decide(self, request: Request) -> Fault:
        """Return what happens to a request, and remember it."""
        with self._lock:
            fault = self.plan(request)
            self.seen.append((request, fault))
            if fault in (Fault.LATE, Fault.TWICE):
                self._held.append(request)
            return fault

    def forward(self, request: Request) -> Answer:
        """Send a request to the server and read its whole answer."""
        connection = HTTPConnection(self._upstream, timeout=PATIENCE_SECONDS)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                connection.putheader(name, value)
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            return Answer(answer.status, _passing(answer.headers), answer.read())
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # all have ended when it has

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # else the client has gone
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_SECONDS
    disable_nagle_algorithm = True

    def _do(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = tuple(
            (name, value)
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "expect")
        )
        request = Request(self.command, self.path, headers, body)
        fault = self.server.proxy.decide(request)
        self._answer(fault, self._forward(request, fault) if fault in _FORWARDED else None)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do  # noqa: N815 - http.server's names

    def _forward(self, request: Request, fault: Fault) -> Answer | None:
        if fault is Fault.CORRUPTED_SENT:
            request = Request(request.method, request.path, request.headers, _flipped(request.body))
        try:
            return self.server.proxy.forward(request)
        except (OSError, HTTPException):  # the server has gone: so has the answer
            return None

    def _answer(self, fault: Fault, answer: Answer | None) -> None:
        if fault in _ERRORS:
            status, code = _ERRORS[fault]
            text = f"<Error><Code>{code}</Code><Message>Planned.</Message></Error>"
            self._send(Answer(status, (("Content-Type", "application/xml"),), text.encode()))
        elif fault in (Fault.SILENT_BEFORE, Fault.SILENT_AFTER):
            select.select([self.connection], [], [], PATIENCE_SECONDS)
        elif answer is None or fault is Fault.CLOSED_AFTER:
            return
        elif fault is Fault.CORRUPTED:
            self._send(Answer(answer.status, answer.headers, _flipped(answer.body)))
        else:
            self._send(answer, cut=fault is Fault.TRUNCATED)

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            # Of an answer to HEAD it is not its own length.
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _passing(headers: HTTPMessage) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer without those of the connection."""
    ours = {"connection", "transfer-encoding", "keep-alive"}
    return tuple((name, value) for name, value in headers.items() if name.lower() not in ours)


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body
