"""uvicorn's protocol with bounds before any of our code is asked.

A head may have a certain size, a certain number of fields and a certain time to
arrive, and a body may keep us waiting for so long; uvicorn itself waits and
collects without end. What is refused here is answered as everything else is:
with a problem, in its turn, and then the connection ends.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lib import log
from lib.web.gathered_writes import GatheredTransport
from lib.web.problems import LOGGER, Failure
from lib.web.raw_answer import raw_answer
from lib.web.request_ids import fit_request_id, new_request_id

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 100  # trailers included

_MALFORMED: Final = Failure(
    400, "malformed_request", "This is not a request that can be read as HTTP; correct it."
)
_TOO_LARGE: Final = Failure(
    431,
    "malformed_request",
    f"Send a head of at most {MAX_HEAD_BYTES // 1024} KiB and {MAX_FIELDS} fields.",
)
_TOO_SLOW: Final = Failure(
    408, "request_timeout", "The request did not arrive in time; send it again, without pauses."
)


class _Part(Enum):
    """What of a request comes next."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()  # it is whole; how long a connection may idle then is uvicorn's to say


class BoundedProtocol(HttpToolsProtocol):
    """One connection; see the module.

    Attributes:
        head_seconds: From the connection, or a head's first byte, to a whole head.
        body_seconds: How long a body may stand still.
        body_bytes_per_second: What each byte gives back of that time, so that a
            byte now and then does not hold a connection for ever.
    """

    head_seconds: ClassVar[float] = 20.0
    body_seconds: ClassVar[float] = 30.0
    body_bytes_per_second: ClassVar[int] = 500

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._part = _Part.HEAD
        self._head_bytes = 0
        self._deadline = 0.0
        self._is_timed = False  # the present part has its deadline
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        gathered = GatheredTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", gathered))
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and judge a request that they do not complete."""
        if self._part is not _Part.BODY:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._part is not _Part.NOTHING:
            self._judge(len(data))
        elif self._timer is not None:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._part = _Part.HEAD

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its head is too large."""
        # What was counted may hold some of the body: only then is it measured.
        is_large = self._head_bytes > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES
        if is_large or len(self.headers) > MAX_FIELDS:
            self._refuse(_TOO_LARGE)
            raise ValueError("the head is too large")  # ends the parsing
        self._part, self._is_timed = _Part.BODY, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        super().on_message_complete()
        self._part, self._is_timed, self._head_bytes = _Part.NOTHING, False, 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words
        """Answer what is no HTTP."""
        self._refuse(_MALFORMED)

    def _judge(self, arrived: int) -> None:
        is_large = self._part is _Part.HEAD and self._head_bytes > MAX_HEAD_BYTES
        if is_large or len(self.headers or ()) > MAX_FIELDS:  # trailers are counted, too
            self._refuse(_TOO_LARGE)
        elif self.transport.is_closing():
            return
        elif not self._is_timed:
            self._wait(self.head_seconds if self._part is _Part.HEAD else self.body_seconds)
        elif self._part is _Part.BODY:
            given = self._deadline + arrived / self.body_bytes_per_second
            self._deadline = min(given, self.loop.time() + self.body_seconds)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._is_timed = True
        self._deadline = self.loop.time() + seconds
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Look whether the time is over; the deadline may have moved meanwhile."""
        left = self._deadline - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
        elif self._part is _Part.BODY and (self.flow.read_paused or self.pipeline):
            self._wait(self.body_seconds)  # it is we who do not read
        elif self._head_bytes or self._part is _Part.BODY:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()  # nothing was asked, so nothing is answered

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, failure: Failure) -> None:
        """Answer and close; where another answer is under way, close after it."""
        if self.transport.is_closing():
            return
        if self._may_answer():
            self._answer(failure)
        elif failure is not _TOO_LARGE and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether no answer was begun to what is refused, nor to what came before it."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            return True
        if self._part is _Part.BODY:
            return not (cycle.response_started or self.pipeline)
        return cycle.response_complete

    def _answer(self, failure: Failure) -> None:
        is_head = False
        if self._part is _Part.BODY:  # the application waits for the rest
            is_head = self.scope["method"] == "HEAD"
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        request_id = self._request_id()
        log.event(
            LOGGER, logging.INFO, "request_refused", status=failure.status, request_id=request_id
        )
        answer = raw_answer(failure, request_id, is_secure=self.scheme == "https")
        self.transport.write(answer.head if is_head else answer.head + answer.body)

    def _request_id(self) -> str:
        """Return the id of what is refused: its own, if that much of it was read."""
        fields = {} if self._part is _Part.NOTHING else dict(self.headers or ())
        return fit_request_id(fields.get(b"x-request-id", b"")) or new_request_id()
