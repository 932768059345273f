"""What a responder is given, and what it may return."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import falcon.asgi
from pydantic import BaseModel

from lib.auth.principal import Principal
from lib.errors import MalformedRequest
from lib.web import body as json_body
from lib.web.audit import AuditActor
from lib.web.media import JSON
from lib.web.request import Request

Q = TypeVar("Q")
B = TypeVar("B")

_KEY: Final = re.compile(r"[\x20-\x7e]{1,128}")


@dataclass(slots=True)
class Call(Generic[Q, B]):
    """One call of an operation, parsed and checked.

    Attributes:
        request: Falcon's request, for the rare responder that needs it.
        response: Falcon's response, for the same.
        query: The operation's query model; None if it has none.
        body: The operation's body model; None if it has none.
        body_cap_bytes: Most bytes that `read` and `chunks` take.
        idempotency_key: Of the header, where the operation takes one.
        body_value: The JSON value of the body; ABSENT without one.
    """

    request: Request
    response: falcon.asgi.Response
    query: Q
    body: B
    body_cap_bytes: int = json_body.DEFAULT_CAP_BYTES
    idempotency_key: str | None = None
    body_value: Any = json_body.ABSENT

    @property
    def principal(self) -> Principal:
        """The caller.

        Raises:
            LookupError: the route is public, so nobody looked.
        """
        principal = self.request.exchange.principal
        if principal is None:
            raise LookupError("a public route has no principal")
        return principal

    def audit_as(self, actor: AuditActor) -> None:
        """Have this call on record, where it would not be: its route is public, or a GET."""
        self.request.exchange.audit_as = actor

    def put_on_record(self, status: int) -> None:
        """Have this call on record as answered by `status`, without waiting for its answer.

        For one that has had its effect, and goes on to wait for what comes of it.
        """
        self.request.exchange.record_early(status)

    @property
    def client(self) -> str:
        """The client's address, as far as trusted proxies tell."""
        return self.request.exchange.client

    @property
    def request_id(self) -> str:
        """Id of this request, in the answer's `x-request-id` and in the log."""
        return self.request.exchange.request_id

    @property
    def route_template(self) -> str:
        """URI template of the route, such as `/runs/{run_id}`; the same for aliases."""
        return self.request.exchange.template or ""

    @property
    def body_digest(self) -> str:
        """SHA-256 in hex of the body's canonical JSON."""
        return json_body.digest(self.body_value)

    @property
    def is_head(self) -> bool:
        """Whether only the headers are wanted; nothing may be consumed then."""
        return self.request.method == "HEAD"

    @property
    def can_stream(self) -> bool:
        """Whether the host sends an answer while it is made; Lambda does not."""
        return "aws.event" not in self.request.scope

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield a body that no model describes, counted against the cap."""
        return self.request.chunks(self.body_cap_bytes)

    async def read(self) -> bytes:
        """Return a body that no model describes, counted against the cap."""
        return await self.request.read(self.body_cap_bytes)

    async def wait(self, change: Awaitable[object], *, seconds: float) -> bool:
        """Wait for a change, for a long poll.

        Returns:
            Whether the change came; False when the time is over or the server
            is stopping. What `change` raises is raised.
        """
        shutdown = self.request.exchange.kernel.shutdown
        try:
            async with asyncio.timeout(seconds) as limit:
                with shutdown.cutting(limit):
                    await change
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True


@dataclass(frozen=True)
class Reply:
    """An answer with more to say than a model.

    Attributes:
        body: A model, a sequence of models, bytes that are already rendered, an
            iterator of bytes that is sent as it is made, or nothing.
        status: HTTP status.
        headers: Names in any case; ASCII values.
        media_type: Of bytes; models are JSON.
        next_cursor: Of a list that is not a bare array: where its next page starts.
    """

    body: BaseModel | Sequence[BaseModel] | bytes | AsyncIterator[bytes] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    next_cursor: str | None = None


@dataclass(frozen=True)
class PageReply:
    """One page of a list: a bare array, the next page named in headers.

    Attributes:
        items: The rows, or the JSON array that they render to.
        next_cursor: Where the next page starts; None on the last one.
    """

    items: Sequence[BaseModel] | bytes
    next_cursor: str | None


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended; their errors are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def idempotency_key(request: Request) -> str | None:
    """Return the request's `Idempotency-Key`.

    Raises:
        MalformedRequest: it is not 1-128 printable ASCII characters.
    """
    key = request.header(b"idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise MalformedRequest("Send an Idempotency-Key of 1 to 128 printable ASCII characters.")
    return key
