"""Who may call what: every registered route x credential x method.

What is expected is made from the list of public routes and from what each
operation declares, never from a second list kept by hand. A route that is added
is in the matrix at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from falcon.routing import map_http_methods

from handlers.registry import all_routes
from lib.auth.credentials import SESSION_COOKIE
from lib.auth.principal import Role
from lib.bootstrap import Local, build_app
from lib.settings import Settings
from lib.web import access
from lib.web.access import Access
from lib.web.app import App
from lib.web.inert import Inert
from lib.web.operation import operation, operation_of
from lib.web.origins import UNSAFE_METHODS
from lib.web.route import Route
from lib.web.shutdown import Shutdown

INERT: Any = Inert()
ROUTES = all_routes(INERT)
SECRET = "the secret of this server"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CALLS = [(route, method) for route in ROUTES for method in METHODS]
IDS = [f"{method} {route.path}" for route, method in CALLS]
# Ids of the right form; nothing has them but the worker and the file.
ULID = "01m84zzzzzzzzzzzzzzzzzzzzz"
VALUES = {
    "worker_id": "hello-worker",
    "run_id": f"run_{ULID}",
    "approval_id": f"apr_{ULID}",
    "link_id": f"lnk_{ULID}",
    "upload_id": f"upl_{ULID}",
    "issue_id": "ISSUE-0001",
    "token": "fls_" + "a" * 24,
    "secret_name": "API_KEY",
    "asset": "swagger-ui.css",
    "name": "worker.json",
    "code": "forbidden",
}


@dataclass(frozen=True)
class Credential:
    """What a request presents.

    Attributes:
        role: What it gives on a server with a secret; None: it is refused.
    """

    headers: dict[str, str]
    role: Role | None = None


NONE = Credential({})
GOOD = {"x-floom-secret": SECRET}
BAD = {
    "wrong secret": Credential({"x-floom-secret": "the secret of that server"}),
    "blank secret": Credential({"x-floom-secret": " "}),
    "bearer junk": Credential({"authorization": "Bearer junk"}),
    "run token": Credential({"authorization": "Bearer frt_" + "x" * 43}),
    "access token": Credential({"authorization": "Bearer fpt_" + "x" * 43}),
    "basic": Credential({"authorization": "Basic eDp5"}),
    "cookie": Credential({"cookie": f"{SESSION_COOKIE}=junk"}),
    "junk before the secret": Credential({"authorization": "Bearer junk", **GOOD}),
    "cookie before the secret": Credential({"cookie": f"{SESSION_COOKIE}=junk", **GOOD}),
}
PRESENTED = {
    "none": NONE,
    "member": Credential(GOOD, Role.MEMBER),
    "admin": Credential(GOOD, Role.ADMIN),
    **BAD,
}
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


class Server:
    """Applications on one set of real services, one for each way to configure access."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings.model_validate(
            {"FLOOM_DATA_DIR": folder, "FLOOM_SANDBOX": "best_effort"}
        )
        self.local = Local(self._settings)
        self._apps: dict[tuple[str | None, Role], App] = {}

    def app(self, secret: str | None, role: Role, *more: Route, limited: bool = False) -> App:
        """Return the application; made once unless it has further routes or is limited."""
        if more or limited or (secret, role) not in self._apps:
            settings = Settings.model_validate(
                self._settings.model_dump(by_alias=True)
                | {
                    "FLOOM_SECRET": secret,
                    "WORKEROS_SHARED_SECRET_ROLE": role.value,
                    "FLOOM_RATE_LIMITS": limited,  # the matrix has hundreds of bad credentials
                }
            )
            services = self.local.services
            app = build_app(settings, services, [*all_routes(services), *more], Shutdown())
            if more or limited:
                return app
            self._apps[secret, role] = app
        return self._apps[secret, role]

    def call(
        self,
        method: str,
        path: str,
        credential: Credential,
        *,
        secret: str | None = SECRET,
        host: str = "localhost",
        **headers: str,
    ) -> testing.Result:
        """Send one request; unsafe ones carry an empty JSON object."""
        given = {**credential.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        body = "{}" if method in UNSAFE_METHODS else None
        if body:
            given["content-type"] = "application/json"
        app = self.app(secret, credential.role or Role.MEMBER)
        return testing.simulate_request(app, method, path, headers=given, body=body, host=host)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("access"))
    yield server
    server.local.close()


def path_of(route: Route, prefix: str = "") -> str:
    """Return a path that the route's template matches."""
    return prefix + re.sub(r"\{(\w+)[^}]*\}", lambda match: VALUES[match[1]], route.path)


def operations(route: Route) -> dict[str, Any]:
    """Return what a route declares, by method; HEAD is GET's."""
    responders = map_http_methods(route.resource, suffix=route.suffix)
    found = {method: operation_of(responder) for method, responder in responders.items()}
    return found | ({"HEAD": found["GET"]} if "GET" in found else {})


def code_of(answer: testing.Result) -> str:
    """Return the error code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json["error_code"])


def expected_refusal(route: Route, method: str, role: Role | None) -> int | None:
    """Return 401 or 403, or None where the request must get through to its resource."""
    if access.is_public(method, route.path):
        return None
    if role is None:
        return 401
    if (method, route.path) in access.RUN_ROUTES:
        return 403
    declared = operations(route).get(method)
    is_for_admins = declared is not None and declared.access is Access.ADMIN
    return 403 if is_for_admins and role is not Role.ADMIN else None


def check_answer(answer: testing.Result, route: Route, method: str, role: Role | None) -> None:
    """Judge an answer's status, and what every answer must carry."""
    refusal = expected_refusal(route, method, role)
    if refusal is not None:
        assert answer.status_code == refusal
    elif method in operations(route):
        assert answer.status_code not in {401, 403, 405, 421}
        assert answer.status_code < 500
    else:
        assert answer.status_code == (200 if method == "OPTIONS" else 405)
    if method != "HEAD" and answer.status_code >= 400:
        assert code_of(answer)
    check_headers(answer)


def check_headers(answer: testing.Result) -> None:
    """Judge the headers of any answer at all."""
    assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
    assert "default-src" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"]
    assert answer.headers["cache-control"]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_matrix_with_a_secret(server: Server, route: Route, method: str) -> None:
    for name, credential in PRESENTED.items():
        answer = server.call(method, path_of(route), credential)
        try:
            check_answer(answer, route, method, credential.role)
        except AssertionError as error:
            raise AssertionError(f"{name}: {answer.status_code} {answer.text[:200]}") from error


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_matrix_in_open_local_mode(server: Server, route: Route, method: str) -> None:
    answer = server.call(method, path_of(route), NONE, secret=None)
    check_answer(answer, route, method, Role.ADMIN)
    for credential in (*BAD.values(), Credential(GOOD)):
        answer = server.call(method, path_of(route), credential, secret=None)
        check_answer(answer, route, method, None)


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_aliases_are_guarded_alike(server: Server, prefix: str) -> None:
    for route, method in CALLS:
        for credential in (NONE, PRESENTED["member"], BAD["cookie"]):
            answer = server.call(method, path_of(route, prefix), credential)
            check_answer(answer, route, method, credential.role)


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_session_that_is_not_accepted_is_cleared_where_it_was_looked_at(
    server: Server, route: Route, method: str
) -> None:
    answer = server.call(method, path_of(route), BAD["cookie"])
    cleared = answer.headers.get("set-cookie", "").startswith(f"{SESSION_COOKIE}=;")
    assert cleared is not access.is_public(method, route.path)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/nowhere", "/v1/nowhere", "/../workers", "/é"])
def test_path_that_is_no_route_tells_a_stranger_nothing(
    server: Server, method: str, path: str
) -> None:
    for credential in (NONE, *BAD.values()):
        answer = server.call(method, path, credential)
        assert answer.status_code == 401
        check_headers(answer)
    answer = server.call(method, path, PRESENTED["member"])
    assert answer.status_code == 404
    check_headers(answer)


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_another_host_is_refused_whoever_asks(server: Server, route: Route, method: str) -> None:
    for credential in (NONE, PRESENTED["admin"]):
        for host in ("evil.example", "localhost.evil.example"):
            answer = server.call(method, path_of(route), credential, host=host)
            assert (answer.status_code == 421) is (route.path != "/healthz")
            check_headers(answer)


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_another_origins_change_is_refused_whoever_asks(
    server: Server, route: Route, method: str
) -> None:
    exempt = route.path.startswith(("/webhooks/", "/composio-events"))
    for credential, secret in ((NONE, SECRET), (PRESENTED["admin"], SECRET), (NONE, None)):
        for name, value in (
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:9"),
            ("sec_fetch_site", "cross-site"),
            ("sec_fetch_site", "same-site"),
        ):
            answer = server.call(method, path_of(route), credential, secret=secret, **{name: value})
            is_refused = answer.status_code == 403 and code_of(answer) == "cross_origin"
            assert is_refused is (method in UNSAFE_METHODS and not exempt), (name, value)
            check_headers(answer)


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_our_own_pages_may_change_things(server: Server, route: Route, method: str) -> None:
    own = {"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"}
    answer = server.call(method, path_of(route), PRESENTED["admin"], **own)
    check_answer(answer, route, method, Role.ADMIN)


def test_every_responder_declares_its_operation() -> None:
    assert [each for route in ROUTES for each in undeclared(route)] == []


def test_what_an_operation_declares_is_what_the_lists_say() -> None:
    """A route is opened to strangers or runs in two places, or not at all."""
    for route in ROUTES:
        for method, declared in operations(route).items():
            is_public = declared.access is Access.PUBLIC
            is_for_runs = declared.access is Access.RUN
            assert is_public is access.is_public(method, route.path), (method, route.path)
            assert is_for_runs is ((method, route.path) in access.RUN_ROUTES), (method, route.path)


def test_an_operation_that_does_not_say_whom_it_is_for_is_none() -> None:
    declare: Any = operation
    with pytest.raises(TypeError, match="access"):
        declare("careless", summary="A careless one", responses={204: None})


def test_a_responder_without_a_declaration_is_found() -> None:
    class Careless:
        async def on_get(self, request: Any, response: Any) -> None: ...

    assert undeclared(Route("/careless", Careless())) == ["GET /careless", "HEAD /careless"]


def undeclared(route: Route) -> list[str]:
    """Return methods of a route whose responder declares nothing."""
    return [f"{method} {route.path}" for method, found in operations(route).items() if not found]


def test_every_responder_of_a_resource_has_a_route() -> None:
    """A responder that no route reaches would be in no matrix."""
    reached = {
        id(inspect.unwrap(responder))
        for route in ROUTES
        for responder in map_http_methods(route.resource, suffix=route.suffix).values()
    }
    for route in ROUTES:
        for name, member in inspect.getmembers(route.resource, inspect.iscoroutinefunction):
            if name.startswith("on_"):
                assert id(inspect.unwrap(member)) in reached, (type(route.resource), name)


def test_each_parameter_has_a_value_here() -> None:
    names = {name for route in ROUTES for name in re.findall(r"\{(\w+)", route.path)}
    assert names <= VALUES.keys()


class Broken:
    """A resource with a bug."""

    async def on_get(self, request: Any, response: Any) -> None:
        raise RuntimeError("a detail that nobody may read")


@pytest.mark.parametrize(
    ("method", "path", "headers", "size", "status"),
    [
        ("GET", "/nowhere", {}, 0, 404),
        ("DELETE", "/workers", {}, 0, 405),
        ("POST", "/workers/hello-worker/runs", {}, 300_000, 413),
        ("POST", "/workers/hello-worker/runs", {"content-type": "text/plain"}, 2, 415),
        ("GET", "/workers", {"host": "evil.example"}, 0, 421),
        ("GET", "/workers?limit=x", {}, 0, 422),
        ("GET", "/broken", {}, 0, 500),
        ("HEAD", "/broken", {}, 0, 500),
        ("OPTIONS", "/workers", {}, 0, 200),
        ("GET", "/docs", {}, 0, 200),
        ("GET", "/docs/", {}, 0, 308),
    ],
)
def test_answers_of_every_kind_carry_the_security_headers(
    server: Server, method: str, path: str, headers: dict[str, str], size: int, status: int
) -> None:
    app = server.app(SECRET, Role.MEMBER, Route("/broken", Broken()))
    host = headers.pop("host", "localhost")
    given = {"content-type": "application/json", **GOOD, **headers}
    path, _, query = path.partition("?")
    answer = testing.simulate_request(
        app, method, path, headers=given, body=b" " * size, host=host, query_string=query
    )
    assert answer.status_code == status
    assert "nobody may read" not in answer.text
    check_headers(answer)


def test_tls_is_remembered_only_where_a_trusted_proxy_says_so(server: Server) -> None:
    answer = server.call("GET", "/healthz", NONE, x_forwarded_proto="https")
    assert "strict-transport-security" not in answer.headers


def test_guesses_come_to_an_end_on_a_server_that_counts(server: Server) -> None:
    app = server.app(SECRET, Role.ADMIN, limited=True)

    def status(credential: Credential, path: str, client: str = "192.0.2.1") -> int:
        answer = testing.simulate_request(
            app, "GET", path, headers=credential.headers, host="localhost", remote_addr=client
        )
        check_headers(answer)
        return int(answer.status_code)

    names = [name for name in BAD for _ in range(3)]
    # The minute may end in between, but not twice.
    for _ in range(2):
        statuses = [status(BAD[name], "/workers") for name in names]
        statuses.append(status(PRESENTED["admin"], "/workers"))
        if statuses == [401] * 20 + [429] * (len(names) - 19):
            break
    else:
        raise AssertionError(statuses)
    assert status(NONE, "/healthz") == 200
    assert status(PRESENTED["admin"], "/workers", client="192.0.2.2") == 200
