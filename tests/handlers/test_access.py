"""Who may call what: every registered route x credential x method.

What is expected is made from the list of public routes and from what each
operation declares, never from a second list kept by hand. A route that is added
is in the matrix at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from falcon.routing import map_http_methods
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.registry import all_routes
from lib.auth.accounts import Accounts, build_accounts
from lib.auth.authenticator import Authenticator
from lib.auth.built_in import BuiltInAccount
from lib.auth.credentials import SESSION_COOKIE
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.auth.run_token import RunTokens
from lib.bootstrap import Local, accounts_of, build_app
from lib.clock import ManualClock
from lib.errors import Unauthenticated
from lib.ids import Ids
from lib.secrets.keys import KEY_BYTES, Key, KeyFolder
from lib.settings import Settings
from lib.storage.memory import MemoryAccountStore, MemoryRunStore
from lib.storage.sqlite import SqliteAccountStore, SqliteDatabase
from lib.web import access
from lib.web.access import Access
from lib.web.app import App
from lib.web.gate import credentials_of
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
    "user_id": f"usr_{ULID}",
    "token_id": f"tok_{ULID}",
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
OPEN = Principal(LOCAL_USER_ID, Role.ADMIN, "local")
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


def authenticator_of(secret: str | None) -> Authenticator:
    """Return an authenticator that knows of nobody."""
    built_in = BuiltInAccount(
        secret=secret, shared_secret_role=Role.ADMIN, key=Key(bytes(KEY_BYTES))
    )
    clock = ManualClock()
    accounts = build_accounts(MemoryAccountStore(), built_in=built_in, clock=clock, ids=Ids(clock))
    return Authenticator(
        secret=secret,
        shared_secret_role=Role.ADMIN,
        bearers={
            "frt_": RunTokens(MemoryRunStore()).check,
            "fpt_": accounts.tokens.check,
        },
        session=accounts.sessions.check,
    )


AUTHENTICATORS = [authenticator_of(SECRET), authenticator_of(None)]
secrets_of_43 = st.text("abcXYZ019_-", min_size=43, max_size=43).map(str.encode)
any_header = st.binary(max_size=90) | st.builds(
    bytes.__add__,
    st.sampled_from(
        [b"Bearer ", b"Bearer fpt_", b"bearer  fpt_", b"Bearer frt_", b"floom_session=fse_",
         b"a=b; floom_session=", b"floom_session=fse_x; floom_session=", b"Basic "]
    ),
    secrets_of_43 | st.binary(max_size=60),
)  # fmt: skip


def bearer(token: str) -> dict[str, str]:
    """Return the header that presents a token."""
    return {"authorization": f"Bearer {token}"}


class Server:
    """Applications on one set of real services, one for each way to configure access."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings.model_validate(
            {"FLOOM_DATA_DIR": folder, "FLOOM_SANDBOX": "best_effort"}
        )
        self.local = Local(self._settings)
        self._apps: dict[tuple[str | None, Role], App] = {}
        self._database = SqliteDatabase(folder / "floom.sqlite3")
        self._key = KeyFolder(folder / "keys").get_or_create("server")
        self.clock = ManualClock(datetime.now(UTC))
        self.store = SqliteAccountStore(self._database)
        self.people = {role: self._person(role) for role in Role}
        self.disabled = self._person(Role.MEMBER, "disabled")
        self.known = {secret: self._known(secret) for secret in (SECRET, None)}

    def close(self) -> None:
        """Close the databases."""
        self._database.close()
        self.local.close()

    def accounts(self, secret: str | None, role: Role) -> Accounts:
        """Return the accounts as the server has them under such settings."""
        return accounts_of(
            self._configured(secret, role), self.store, key=self._key, clock=self.clock
        )

    def stored(self, secret: str | None, route: Route, method: str) -> dict[str, Credential]:
        """Return credentials that are stored, by what they are; for methods that are there.

        They take the same way through the gate as those that are not: 20 more for
        each method that is not there would take a minute.
        """
        if method not in operations(route):
            return {}
        return self._known(secret) if route.path == "/auth/logout" else self.known[secret]

    def _configured(self, secret: str | None, role: Role, *, limited: bool = False) -> Settings:
        return Settings.model_validate(
            self._settings.model_dump(by_alias=True)
            | {
                "FLOOM_SECRET": secret,
                "WORKEROS_SHARED_SECRET_ROLE": role.value,
                "FLOOM_RATE_LIMITS": limited,  # the matrix has hundreds of bad credentials
            }
        )

    def _person(self, role: Role, name: str = "") -> Principal:
        """Return a user who has signed in."""
        links = self.accounts(None, Role.ADMIN).links
        email = f"{name or role.value}@example.com"
        links.sign_in(links.make(OPEN, email=email, role=role).token)
        user = self.store.find_user(email)
        assert user is not None
        return Principal(user.id, role, "session", email)

    def _known(self, secret: str | None) -> dict[str, Credential]:
        """Return good credentials, and those that were good once, for a server with `secret`."""
        found: dict[str, Credential] = {}
        for role, person in self.people.items():
            found[f"session of a {role}"] = Credential(self._session(secret, person), role)
            found[f"token of a {role}"] = Credential(self._token(secret, person), role)
        admin, built_in = self.people[Role.ADMIN], Principal(LOCAL_USER_ID, Role.MEMBER, "local")
        found["member's token of an admin"] = Credential(
            self._token(secret, admin, Role.MEMBER), Role.MEMBER
        )
        found["session of the built-in account"] = Credential(
            self._session(secret, built_in), Role.MEMBER
        )
        found["token of the built-in account"] = Credential(
            self._token(secret, built_in), Role.MEMBER
        )
        return found | self._unusable(secret)

    def _unusable(self, secret: str | None) -> dict[str, Credential]:
        """Return credentials that were good once, or would be elsewhere."""
        built_in, admin = Principal(LOCAL_USER_ID, Role.ADMIN, "local"), self.people[Role.ADMIN]
        found: dict[str, Credential] = {}
        for name, other in {
            "open": None,
            SECRET: SECRET,
            "another": "another secret of 16",
        }.items():
            if other != secret:
                found[f"session, bound to {name}"] = Credential(self._session(other, built_in))
                found[f"token, bound to {name}"] = Credential(self._token(other, built_in))
        accounts = self.accounts(secret, Role.ADMIN)
        ended = self._session(secret, admin)
        accounts.sessions.end(ended["cookie"].partition("=")[2].encode())
        found["session that was ended"] = Credential(ended)
        revoked = accounts.tokens.create(admin, "test", role=None, days=1)
        accounts.tokens.revoke(admin.user_id, revoked.record.id)
        found["token that was revoked"] = Credential(bearer(revoked.secret.value))
        accounts.users.change(self.disabled.user_id, role=None, disabled=False)
        found["session of the disabled"] = Credential(self._session(secret, self.disabled))
        found["token of the disabled"] = Credential(self._token(secret, self.disabled))
        accounts.users.change(self.disabled.user_id, role=None, disabled=True)
        self.clock.advance(days=-100)
        found["session that expired"] = Credential(self._session(secret, admin))
        found["token that expired"] = Credential(self._token(secret, admin))
        self.clock.advance(days=100)
        return found

    def _session(self, secret: str | None, owner: Principal) -> dict[str, str]:
        links = self.accounts(secret, owner.role).links
        signed_in = links.sign_in(links.make(owner, email=None, role=None).token)
        return {"cookie": f"{SESSION_COOKIE}={signed_in.cookie}"}

    def _token(
        self, secret: str | None, owner: Principal, role: Role | None = None
    ) -> dict[str, str]:
        tokens = self.accounts(secret, owner.role).tokens
        made = tokens.create(owner, "test", role=role, days=90)
        return bearer(made.secret.value)

    def app(self, secret: str | None, role: Role, *more: Route, limited: bool = False) -> App:
        """Return the application; made once unless it has further routes or is limited."""
        if more or limited or (secret, role) not in self._apps:
            configured = self._configured(secret, role, limited=limited)
            accounts = self.accounts(secret, role)
            services = replace(self.local.services, accounts=accounts)
            app = build_app(configured, services, [*all_routes(services), *more], Shutdown())
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
    server.close()


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


def check_stored(
    name: str, answer: testing.Result, route: Route, method: str, role: Role | None
) -> None:
    """Judge an answer to the credential of this name."""
    try:
        if (method, route.path) == ("POST", "/auth/magic-link") and "token of" in name and role:
            assert answer.status_code == 403  # it would get a session of its own user
        else:
            check_answer(answer, route, method, role)
    except AssertionError as error:
        raise AssertionError(f"{name}: {answer.status_code} {answer.text[:200]}") from error


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
    stored = server.stored(SECRET, route, method)
    for name, credential in (PRESENTED | stored).items():
        answer = server.call(method, path_of(route), credential)
        check_stored(name, answer, route, method, credential.role)


@pytest.mark.parametrize(("route", "method"), CALLS, ids=IDS)
def test_matrix_in_open_local_mode(server: Server, route: Route, method: str) -> None:
    answer = server.call(method, path_of(route), NONE, secret=None)
    check_answer(answer, route, method, Role.ADMIN)
    for credential in (*BAD.values(), Credential(GOOD)):
        answer = server.call(method, path_of(route), credential, secret=None)
        check_answer(answer, route, method, None)
    for name, credential in server.stored(None, route, method).items():
        answer = server.call(method, path_of(route), credential, secret=None)
        check_stored(name, answer, route, method, credential.role)


@given(
    st.dictionaries(
        st.sampled_from([b"authorization", b"cookie", b"x-floom-secret"]), any_header, min_size=1
    )
)
@settings(max_examples=300, deadline=None)
def test_no_other_headers_let_anybody_in(headers: dict[bytes, bytes]) -> None:
    """Whatever they hold: refused, never a failure, on a server that is open too."""
    credentials = credentials_of(headers)
    if credentials == (None, None, None):  # a cookie of something else
        return
    for authenticator in AUTHENTICATORS:
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(credentials)


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
@pytest.mark.parametrize("path", ["/nowhere", "/v1/nowhere", "/../workers", "/é"])
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
