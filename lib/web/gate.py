"""The one middleware: host, origin and credentials, before any resource.

Default deny: whatever is not on the list of public routes needs a caller, a
path that no route has included.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import falcon.asgi

from lib.auth.credentials import SESSION_COOKIE, Credentials
from lib.auth.principal import Principal
from lib.errors import Forbidden, MalformedRequest, Unauthenticated
from lib.web.access import PUBLIC_TEMPLATES, RUN_ROUTES, RUN_TEMPLATES, is_public
from lib.web.bad_credentials import BadCredentials, Judge
from lib.web.exchange import Exchange, Kernel
from lib.web.hosts import Hosts
from lib.web.origins import UNSAFE_METHODS, Origins
from lib.web.request import Request
from lib.web.threads import blocking

_SESSION: Final = SESSION_COOKIE.encode()


class Gate:
    """Lets a request through to its resource, or raises."""

    def __init__(self, kernel: Kernel, hosts: Hosts, origins: Origins) -> None:
        self._kernel = kernel
        self._hosts = hosts
        self._origins = origins

    async def process_resource(
        self,
        request: Request,
        _response: falcon.asgi.Response,
        _resource: object,
        params: dict[str, Any],
    ) -> None:
        """Find out who is calling, unless the route is public."""
        exchange = self._admit(request)
        template = exchange.template = request.uri_template
        exchange.params = params
        if template in PUBLIC_TEMPLATES and is_public(request.method, template):
            return
        principal = await self._authenticate(request)
        if principal.method == "run_token" or template in RUN_TEMPLATES:
            _check_run(principal, request.method, template, params)

    async def refuse_unknown(self, request: Request) -> None:
        """Let a request to an unknown path on, to its 404, or raise.

        Raises:
            FloomError: what a route that is not public would have raised.
        """
        self._admit(request)
        principal = await self._authenticate(request)
        if principal.method == "run_token":
            raise _for_people()

    async def _authenticate(self, request: Request) -> Principal:
        """Find out who is calling; on the Unix socket only runs are anybody."""
        credentials = credentials_of(request.raw_headers)
        client = request.exchange.client
        if client and credentials.are_presented and self._kernel.bad_credentials is not None:
            principal = await self._judge_counted(credentials, client, self._kernel.bad_credentials)
        else:
            principal = await self._judge(credentials, self._kernel.authenticator.authenticate)
        if "client" in request.scope and request.scope["client"] is None:
            _check_came_from_run(principal)
        request.exchange.principal = principal
        if principal.session_until is not None and credentials.session is not None:
            left = principal.session_until - self._kernel.clock.now()
            value = credentials.session.decode("latin-1")
            request.exchange.keep_session(value, max(0, int(left.total_seconds())))
        return principal

    async def _judge_counted(
        self, credentials: Credentials, client: str, bad: BadCredentials
    ) -> Principal:
        """Judge credentials unless too many bad ones came from the client's address.

        Raises:
            RateLimited: they did.
            Unauthenticated: these are bad, too.
        """
        judge = self._kernel.authenticator.authenticate
        bad.check(client)  # also here, so that guesses do not queue for threads
        try:
            return await self._judge(credentials, partial(bad.judge, client, judge))
        except Unauthenticated:
            await blocking(bad.count, client)
            raise

    async def _judge(self, credentials: Credentials, judge: Judge) -> Principal:
        if credentials.are_stored:
            return await blocking(judge, credentials)
        return judge(credentials)

    def _admit(self, request: Request) -> Exchange:
        """Check what holds for every path: the host, and a browser's origin."""
        exchange, headers, path = request.exchange, request.raw_headers, request.path
        if b"x-request-id" in headers:
            exchange.adopt_request_id(headers[b"x-request-id"])
        scheme = self._kernel.proxies.scheme(request.scope, headers)
        exchange.is_secure = scheme == "https"
        exchange.client = self._kernel.proxies.client(request.scope, headers)
        names = [name for name, _ in request.scope["headers"]]
        if names.count(b"host") > 1:  # RFC 9112, 3.2
            raise MalformedRequest("Send one Host header.")
        if names.count(b"cookie") > 1:  # RFC 6265, 5.4; only the last one would be looked at
            raise MalformedRequest("Send one Cookie header.")
        if path != "/healthz":  # a load balancer asks by address
            self._hosts.check(headers.get(b"host"))
        if request.method in UNSAFE_METHODS and not _is_signed_delivery(path):
            self._origins.check(headers, scheme)
        return exchange

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Close the pool of threads; they start again when there is work."""
        self._kernel.pool.close()


def _check_came_from_run(principal: Principal) -> None:
    """Let runs alone use the Unix socket, whose peers have no address: it is for their gates.

    A gate parses what a hostile worker sends. Whoever took it over must not be
    somebody here for the mere place that it speaks from.

    Raises:
        Unauthenticated: it is no run.
    """
    if principal.method != "run_token":
        raise Unauthenticated("Only runs may call here, each with its token.")


def _check_run(
    principal: Principal, method: str, template: str | None, params: Mapping[str, Any]
) -> None:
    """Let a run to its own few routes and nowhere else, and nobody else to them.

    Raises:
        Forbidden: it is not for the caller.
    """
    is_run = principal.method == "run_token"
    if ((method, template) in RUN_ROUTES) is not is_run:
        raise _for_people() if is_run else Forbidden("Only a run may call this, with its token.")
    if is_run and params["run_id"] != principal.user_id:
        raise Forbidden("A run's token is good for its own run only.")


def _for_people() -> Forbidden:
    return Forbidden("A run's token may only write to its run's log (POST /runs/{id}/logs).")


def credentials_of(headers: Mapping[bytes, bytes]) -> Credentials:
    """Return what a request's headers present."""
    return Credentials(
        headers.get(b"authorization"),
        _session(headers[b"cookie"]) if b"cookie" in headers else None,
        headers.get(b"x-floom-secret"),
    )


def _session(cookie: bytes) -> bytes | None:
    for part in cookie.replace(b",", b";").split(b";"):
        name, separator, value = part.strip().partition(b"=")
        if separator and name == _SESSION:
            return value
    return None


def _is_signed_delivery(path: str) -> bool:
    return path == "/composio-events" or path.startswith("/webhooks/")
