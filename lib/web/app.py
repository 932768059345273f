"""The application: routes behind one gate, failures as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote_from_bytes, urlsplit

import falcon
import falcon.asgi
from falcon.routing import CompiledRouter

from lib.auth.authenticator import Authenticator
from lib.auth.sessions import InvalidSession
from lib.clock import Clock
from lib.errors import FloomError
from lib.storage.ports import AuditStore, RateStore
from lib.web import problems
from lib.web.audit import Auditor
from lib.web.bad_credentials import BadCredentials
from lib.web.exchange import SCOPE_KEY, Exchange, Kernel, Send
from lib.web.gate import Gate
from lib.web.hosts import Hosts
from lib.web.media import PROBLEM_JSON
from lib.web.origins import Origins
from lib.web.proxies import TrustedProxies
from lib.web.rate_limits import RateLimits
from lib.web.request import Request
from lib.web.route import Route
from lib.web.session_cookie import SessionCookie
from lib.web.shutdown import Shutdown
from lib.web.threads import Pool, use

Receive = Callable[[], Any]

ALIASES: Final = ("/v1/", "/api/v1/")
_QUERY_SAFE: Final = "".join(map(chr, range(128)))


class Router(CompiledRouter):
    """Falcon's router; HEAD works where GET does."""

    def map_http_methods(self, resource: object, **kwargs: Any) -> Any:
        """Return a resource's responders by method."""
        responders: dict[str, Any] = dict(super().map_http_methods(resource, **kwargs))
        if "GET" in responders and "HEAD" not in responders:
            responders["HEAD"] = responders["GET"]
        return responders


class App(falcon.asgi.App[Request, falcon.asgi.Response]):
    """Falcon's application within an exchange per request."""

    def __init__(self, kernel: Kernel, gate: Gate) -> None:
        super().__init__(middleware=[gate], request_type=Request, router=Router())
        self.kernel = kernel

    async def __call__(  # type: ignore[override]  # Falcon itself overrides WSGI's
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        if scope["type"] == "websocket":  # there are none; no handshake passes the gate
            await receive()
            await send({"type": "websocket.close"})
            return
        if not scope["query_string"].isascii():  # Falcon would fail to decode it
            scope["query_string"] = quote_from_bytes(scope["query_string"], _QUERY_SAFE).encode()
        exchange = scope[SCOPE_KEY] = Exchange(self.kernel, scope, send)
        if scope["path"].startswith(ALIASES):
            scope["path"] = "/" + scope["path"].partition("/v1/")[2]
        use(self.kernel.pool)
        try:
            await super().__call__(scope, receive, exchange.send)
        except asyncio.CancelledError:  # the server stops, and waits no longer
            if not exchange.status:
                exchange.record_unanswered()
            raise
        except Exception as ex:
            problems.report(ex, request_id=exchange.request_id, route=exchange.template)
            if exchange.status:
                raise  # half an answer is out: the server must drop the connection
            await exchange.fail(problems.UNEXPECTED)
        finally:
            exchange.log()
            del scope[SCOPE_KEY]  # the server's objects hold the scope: no cycle for the collector


def create_app(
    routes: Sequence[Route],
    *,
    authenticator: Authenticator,
    clock: Clock,
    public_url: str,
    allowed_hosts: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    shutdown: Shutdown,
    audit: AuditStore | None = None,
    rates: RateStore | None = None,
) -> App:
    """Return the ASGI application of these routes.

    Each route is also served under `/v1` and `/api/v1`.

    Args:
        routes: All of them; templates must not collide.
        authenticator: Decides who is calling.
        clock: The time.
        public_url: Base of our links; its host and origin are ours.
        allowed_hosts: Further names in `Host`.
        trusted_proxies: CIDRs of peers whose forwarding headers count.
        shutdown: Begun by whoever takes the signal; ends streams and polls.
        audit: Where calls are on record; None keeps no record.
        rates: Where calls are counted; None limits nothing.
    """
    kernel = Kernel(
        authenticator=authenticator,
        clock=clock,
        proxies=TrustedProxies(trusted_proxies),
        shutdown=shutdown,
        pool=Pool(),
        cookie=SessionCookie(is_secure=urlsplit(public_url).scheme == "https"),
        auditor=Auditor(audit, clock=clock) if audit is not None else None,
        rates=RateLimits(rates, clock) if rates is not None else None,
        bad_credentials=BadCredentials(rates, clock) if rates is not None else None,
    )
    gate = Gate(kernel, Hosts(public_url, allowed_hosts), Origins(public_url))
    app = App(kernel, gate)
    for route in routes:
        app.add_route(route.path, route.resource, suffix=route.suffix)
    _handle_failures(app, gate)
    return app


def _handle_failures(app: App, gate: Gate) -> None:
    async def on_failure(
        request: Request, response: falcon.asgi.Response, error: Exception, _params: Any
    ) -> None:
        exchange = request.exchange
        failure = problems.failure_of(error)
        exchange.error_code = failure.code
        if failure is problems.UNEXPECTED:
            problems.report(error, request_id=exchange.request_id, route=exchange.template)
        response.stream = None
        response.status = failure.status
        response.content_type = PROBLEM_JSON
        response.data = failure.render(exchange.request_id)
        response.set_headers(dict(failure.headers))
        if isinstance(error, InvalidSession):
            exchange.clear_session()

    async def on_unknown_route(
        request: Request, response: falcon.asgi.Response, error: Exception, params: Any
    ) -> None:
        try:
            await gate.refuse_unknown(request)
        except FloomError as ex:
            await on_failure(request, response, ex, params)
        else:
            await on_failure(request, response, error, params)

    for kind in (Exception, falcon.HTTPError):  # Falcon has its own for HTTPError
        app.add_error_handler(kind, on_failure)
    app.add_error_handler(falcon.HTTPRouteNotFound, on_unknown_route)
