"""One request and its answer, as the kernel follows them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from lib import log
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Principal
from lib.clock import Clock
from lib.web import headers
from lib.web.audit import AuditActor, Auditor, Outcome
from lib.web.bad_credentials import BadCredentials
from lib.web.origins import UNSAFE_METHODS
from lib.web.problems import Failure
from lib.web.proxies import TrustedProxies
from lib.web.rate_limits import RateLimits
from lib.web.request_ids import fit_request_id, new_request_id
from lib.web.session_cookie import SessionCookie
from lib.web.shutdown import Shutdown
from lib.web.threads import Pool, blocking

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]

SCOPE_KEY: Final = "floom.exchange"
EARLY_SECONDS: Final = 0.005  # in which what a call has begun gets under way, undisturbed
ACCESS: Final = logging.getLogger("floom.access")
_REQUEST: Final = log.FrequentEvent(
    ACCESS, "request", "method", "route", "status", "ms", "request_id", "principal"
)


@dataclass(frozen=True)
class Kernel:
    """What all requests of one application share.

    Attributes:
        auditor: None keeps no audit log.
        rates: Counts calls of operations with a limit; None lets all through.
        bad_credentials: Counts those; None lets all be judged.
    """

    authenticator: Authenticator
    clock: Clock
    proxies: TrustedProxies
    shutdown: Shutdown
    pool: Pool
    cookie: SessionCookie
    auditor: Auditor | None = None
    rates: RateLimits | None = None
    bad_credentials: BadCredentials | None = None


class Exchange:
    """Completes the answer's headers, and writes the audit log and the access log.

    Attributes:
        kernel: What all requests share.
        method: HTTP method.
        path: Path as it was called, alias included; the router's is rewritten.
        request_id: Taken from the request where it has a fit one.
        principal: The caller, once they are known; None on public routes.
        template: URI template of the route, once there is one.
        status: Status that was sent; 0 before that.
        is_secure: Whether the client's connection is TLS.
        client: The client's address, as far as trusted proxies tell; "" on the Unix socket.
        new_cookie: `Set-Cookie` of the answer, a failure's too; by `keep_session`
            and `clear_session`, of which the last one counts.
        params: Of the path, as the router found them.
        error_code: Of the problem that is answered.
        audit_as: As whom the call is on record, where it would not be otherwise:
            set by responders of public routes, once they know who it is.
    """

    __slots__ = (
        "_early",
        "_early_outcome",
        "_is_recorded",
        "_send",
        "_started",
        "audit_as",
        "client",
        "error_code",
        "is_secure",
        "kernel",
        "method",
        "new_cookie",
        "params",
        "path",
        "principal",
        "request_id",
        "status",
        "template",
    )

    def __init__(self, kernel: Kernel, scope: Scope, send: Send) -> None:
        self.kernel = kernel
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = new_request_id()
        self.principal: Principal | None = None
        self.template: str | None = None
        self.status = 0
        self.is_secure = False
        self.client = ""
        self.new_cookie: bytes | None = None
        self.params: Mapping[str, Any] = {}
        self.error_code: str | None = None
        self.audit_as: AuditActor | None = None
        self._is_recorded = False
        self._early: asyncio.Future[None] | None = None
        self._early_outcome: Outcome | None = None
        self._send = send
        self._started = time.perf_counter()

    def adopt_request_id(self, header: bytes) -> None:
        """Take over the caller's request id, if it is fit for headers and logs."""
        self.request_id = fit_request_id(header) or self.request_id

    def keep_session(self, value: str, seconds: int) -> None:
        """Let the answer store a session in the browser."""
        self.new_cookie = self.kernel.cookie.keep(value, seconds)

    def clear_session(self) -> None:
        """Let the answer take the session from the browser."""
        self.new_cookie = self.kernel.cookie.clear()

    def send(self, message: Message) -> Awaitable[None]:
        """Send one ASGI message; not a coroutine itself, which saves a hop."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = headers.complete(
                message["headers"], self.request_id.encode(), is_secure=self.is_secure
            )
            if self.new_cookie is not None:
                message["headers"].append((b"set-cookie", self.new_cookie))
            if self.kernel.auditor is not None and (actor := self._actor()) is not None:
                return self._send_recorded(message, self.kernel.auditor, actor)
        return self._send(message)

    def record_unanswered(self) -> None:
        """Record a call that ends without an answer; blocks.

        For a server that stops: what the call began may have its effect still.
        """
        auditor, actor = self.kernel.auditor, self._actor()
        if auditor is not None and actor is not None and not self._is_recorded:
            self._is_recorded = True
            auditor.record(actor, self._outcome(self.status or None))

    def record_early(self, status: int) -> None:
        """Begin to put the call on record, as answered by `status`, before its answer is known.

        For a call that has had its effect and goes on to wait for something else, which
        is given a moment to get under way: nobody waits for the record before the answer.
        """
        auditor, actor = self.kernel.auditor, self._actor()
        if auditor is not None and actor is not None and not self._is_recorded:
            self._early_outcome = self._outcome(status)
            self._early = asyncio.ensure_future(self._record_soon(auditor, actor))

    async def fail(self, failure: Failure) -> None:
        """Answer with a problem, where the framework cannot."""
        self.error_code = failure.code
        body = failure.render(self.request_id)
        fields = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await self.send(
            {"type": "http.response.start", "status": failure.status, "headers": fields}
        )
        await self.send({"type": "http.response.body", "body": body})

    def log(self) -> None:
        """Write the access log's line: the route's template, never the path."""
        _REQUEST.log(
            self.method,
            self.template,
            self.status,
            round((time.perf_counter() - self._started) * 1000, 1),
            self.request_id,
            self.principal.user_id if self.principal else None,
        )

    async def _record_soon(self, auditor: Auditor, actor: AuditActor) -> None:
        await asyncio.sleep(EARLY_SECONDS)
        if not self._is_recorded:
            self._is_recorded = True
            await blocking(auditor.record, actor, self._outcome(None))

    async def _send_recorded(self, message: Message, auditor: Auditor, actor: AuditActor) -> None:
        """Send the start of an answer once the call is on record."""
        if not self._is_recorded:
            self._is_recorded = True
            await blocking(auditor.record, actor, self._outcome(self.status))
        elif self._early is not None:
            await asyncio.shield(self._early)  # a call that is cut off must not take it along
        await self._send(message)

    def _actor(self) -> AuditActor | None:
        """Return as whom the call is on record; None for a call that is not."""
        if self.audit_as is not None:
            return self.audit_as
        caller = self.principal
        if caller is None or self.method not in UNSAFE_METHODS or caller.method == "run_token":
            return None
        return AuditActor.of(caller)

    def _outcome(self, status: int | None) -> Outcome:
        """Return what is to be put on record: what the call was said to have done, or its answer."""
        return self._early_outcome or Outcome(
            http_method=self.method,
            route=self.template,
            params=self.params,
            status=status,
            error_code=self.error_code,
            client=self.client,
            request_id=self.request_id,
        )
