"""Every route against every credential: default deny, one list of exceptions."""

import pytest

from lib.auth.principal import Principal, Role
from lib.web import openapi
from lib.web.access import PUBLIC_ROUTES, RUN_TEMPLATES, is_public
from lib.web.route import Route
from tests.lib.web.things import SECRET

RUN = "run_01jd0000000000000000000000"
OTHER_RUN = "run_01jd0000000000000000000001"

NONE: dict[str, str] = {}
GOOD = {"x-floom-secret": SECRET}
BAD = {
    "wrong secret": {"x-floom-secret": "wrong"},
    "blank secret": {"x-floom-secret": ""},
    "run token": {"authorization": "Bearer frt_x"},
    "access token": {"authorization": "Bearer fpt_x"},
    "basic": {"authorization": "Basic eDp5"},
    "session": {"cookie": "a=b; floom_session=x"},
    "token before secret": GOOD | {"authorization": "Bearer fpt_x"},
    "session before secret": GOOD | {"cookie": "floom_session=x"},
}
ENDPOINTS = [
    ("GET", "/things"),
    ("HEAD", "/things"),
    ("POST", "/things"),
    ("DELETE", "/things"),
    ("OPTIONS", "/things"),
    ("PUT", "/things"),
    ("GET", f"/things/{RUN}"),
    ("PATCH", f"/things/{RUN}"),
    ("GET", "/nowhere"),
    ("GET", "/v1/things"),
    ("GET", "/api/v1/things"),
    ("GET", "/api/v1/nowhere"),
    ("POST", "/healthz"),
    ("GET", "/webhooks/hello"),
]
PUBLIC = [("GET", "/healthz"), ("HEAD", "/healthz"), ("POST", "/webhooks/hello")]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("headers", [NONE, *BAD.values()], ids=["none", *BAD])
def test_nothing_is_answered_without_a_good_credential(bare, method, path, headers):
    answer = bare(method, path, headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if method != "HEAD":
        assert answer.json["error_code"] == "unauthenticated"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
def test_a_bad_credential_is_refused_on_an_open_server_too(client_of, method, path, headers):
    assert client_of(NONE, secret=None)(method, path, headers).status_code == 401


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_good_credential_gets_past_the_gate(client, method, path):
    assert client(method, path).status_code != 401


@pytest.mark.parametrize(("method", "path"), PUBLIC)
@pytest.mark.parametrize("headers", [NONE, GOOD, *BAD.values()], ids=["none", "good", *BAD])
def test_public_routes_do_not_look_at_credentials(bare, method, path, headers):
    answer = bare(method, path, headers)

    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    if method == "POST":
        assert answer.json == {"force": False}


@pytest.mark.parametrize(("role", "status"), [(Role.MEMBER, 403), (Role.ADMIN, 204)])
def test_an_admins_operation_is_for_admins(client_of, role, status):
    assert client_of(role=role)("DELETE", "/things").status_code == status


def test_on_an_open_server_everybody_is_admin(client_of):
    assert client_of(NONE, secret=None)("DELETE", "/things").status_code == 204


class OneRun:
    """Takes everybody for one run."""

    def authenticate(self, _credentials):
        return Principal(RUN, Role.ADMIN, "run_token")


class Answers:
    """A resource that answers whatever reaches it, declared or not."""

    async def on_get(self, _request, response, **_):
        response.status = 200

    on_post = on_put = on_delete = on_get


@pytest.fixture
def run_routes():
    templates = sorted(RUN_TEMPLATES | {"/runs", "/runs/{run_id}", "/runs/{run_id}/cancel"})
    return [Route(template, Answers()) for template in templates]


@pytest.mark.parametrize("template", sorted(RUN_TEMPLATES))
@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1"])
def test_a_run_reaches_its_own_few_routes(client_of, run_routes, template, prefix):
    run = client_of({}, authenticator=OneRun(), routes=run_routes)
    path = prefix + template.format(run_id=RUN, tool="GMAIL_SEND", worker_id="hello")

    assert run("POST", path).status_code == 200
    another = run("POST", path.replace(RUN, OTHER_RUN))
    assert (another.status_code, another.json["error_code"]) == (403, "forbidden")
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert run(method, path).status_code == 403


@pytest.mark.parametrize(("method", "path"), [*ENDPOINTS, ("POST", f"/runs/{RUN}/cancel"),
                                              ("GET", f"/runs/{RUN}"), ("GET", f"/runs/{RUN}/logs")])  # fmt: skip
def test_a_run_reaches_nothing_else(client_of, routes, run_routes, method, path):
    run = client_of({}, authenticator=OneRun(), routes=[*routes, *run_routes])

    answer = run(method, path)

    assert answer.status_code == 403
    if method != "HEAD":
        assert answer.json["error_code"] == "forbidden"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("template", sorted(RUN_TEMPLATES))
def test_a_runs_routes_are_for_nobody_else(client_of, run_routes, template, role):
    person = client_of(role=role, routes=run_routes)
    path = template.format(run_id=RUN, tool="GMAIL_SEND", worker_id="hello")

    assert person("POST", path).status_code == 403
    assert person("GET", path).status_code == 200


def test_a_bad_session_is_cleared(bare, client_of):
    cookie = bare("GET", "/things", {"cookie": "floom_session=x"}).headers["set-cookie"]

    assert cookie.startswith("floom_session=; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=0", "Secure"} <= set(cookie.split("; "))
    local = client_of(NONE, public_url="http://localhost:8000")
    answer = local("GET", "/things", {"cookie": "floom_session=x"})
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("cookie", ["xfloom_session=1", "floom_session", "a=floom_session=1", ";"])
def test_other_cookies_are_no_credential(client, cookie):
    assert client("GET", "/things", {"cookie": cookie}).status_code == 200


def test_the_secret_sent_twice_is_not_the_secret(bare):
    headers = [("x-floom-secret", SECRET), ("x-floom-secret", SECRET)]

    assert bare("GET", "/things", dict(headers)).status_code == 200
    doubled = {"x-floom-secret": f"{SECRET},{SECRET}"}
    assert bare("GET", "/things", doubled).status_code == 401


def test_the_list_of_public_routes_names_methods_and_templates():
    assert all(method in {"GET", "POST"} and path[0] == "/" for method, path in PUBLIC_ROUTES)
    assert is_public("HEAD", "/docs")
    assert not is_public("POST", "/docs")
    assert not is_public("GET", "/webhooks/{worker_id}")
    assert not is_public("GET", "/auth/me")


def test_the_matrix_covers_every_route(routes):
    covered = {
        path.replace(RUN, "{run_id}").replace("hello", "{worker_id}") for _, path in ENDPOINTS
    }
    others = {"/bytes", "/header", "/events", "/poll"}

    assert {endpoint.path for endpoint in openapi.endpoints(routes)} - others <= covered
