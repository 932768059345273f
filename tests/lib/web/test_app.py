"""What holds for every request, in process."""

import json
import logging

import pytest
from falcon import testing
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import ManualClock
from lib.web.app import create_app
from lib.web.headers import STRICT_POLICY
from lib.web.route import Route
from lib.web.shutdown import Shutdown
from tests.lib.web.things import SECRET, Things, routes_of

RUN = "run_01jd0000000000000000000000"
FIXED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": STRICT_POLICY,
    "cache-control": "no-store",
}
GOOD = {"x-floom-secret": SECRET}


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO)

    def fields():
        return [record.floom_fields for record in caplog.records if record.name == "floom.access"]

    return fields


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/things", 200),
        ("HEAD", "/things", 200),
        ("OPTIONS", "/things", 200),
        ("POST", "/things", 400),
        ("DELETE", "/things", 403),
        ("GET", "/nowhere", 404),
        ("GET", "/things/", 400),
        ("PUT", "/things", 405),
        ("POST", "/things/x", 405),
        ("GET", f"/things/{RUN}", 500),
        ("GET", "/header", 500),
        ("GET", "/healthz", 200),
    ],
)
def test_every_answer_carries_the_security_headers(client, method, path, status):
    answer = client(method, path)

    assert answer.status_code == status
    assert answer.headers.items() >= FIXED.items()
    assert "strict-transport-security" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/nowhere", "/things/x", "/things?limit=0", f"/things/{RUN}"])
def test_every_failure_is_a_problem(client, path):
    answer = client("GET", path)

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == f"/problems/{answer.json['error_code']}"
    assert answer.json["status"] == answer.status_code
    assert answer.json["instance"] == answer.headers["x-request-id"]
    assert answer.json["title"]
    assert answer.json["detail"].endswith(".")


def test_an_unexpected_failure_is_logged_but_says_nothing(client, caplog):
    answer = client("GET", f"/things/{RUN}", {"x-request-id": "mine"})

    assert answer.json["error_code"] == "internal_error"
    assert "secret" not in answer.text
    record = next(r for r in caplog.records if r.getMessage() == "request_failed")
    assert record.floom_fields["request_id"] == "mine"
    assert f"the secret of {RUN}" in record.floom_fields["traceback"]


def test_a_method_that_is_not_there_names_those_that_are(client):
    answer = client("PUT", "/things")

    assert answer.json["error_code"] == "method_not_allowed"
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}


def test_head_answers_as_get_without_a_body(client):
    get, head = client("GET", "/things"), client("HEAD", "/things")

    assert head.text == ""
    assert head.headers["content-length"] == str(len(get.content))
    assert head.headers["x-next-cursor"] == get.headers["x-next-cursor"]


@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1"])
def test_every_route_has_its_aliases(client, prefix, logged):
    answer = client("GET", f"{prefix}/things", params={"q": "x", "limit": "2"})

    assert answer.json[0]["name"] == "x"
    assert answer.headers["link"].startswith(f"<{prefix}/things?q=x&limit=2&cursor=")
    assert logged()[0]["route"] == "/things"


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/v1/things", "/api/things", "/v2/things"])
def test_nothing_else_is_an_alias(client, path):
    assert client("GET", path).status_code == 404


@pytest.mark.parametrize("fit", ["a", "A-z.0_9", "x" * 128])
def test_a_fit_request_id_is_taken_over(client, fit):
    assert client("GET", "/things", {"x-request-id": fit}).headers["x-request-id"] == fit


@pytest.mark.parametrize("unfit", ["", " ", "a b", "x" * 129, "é", "a,b", 'a"b', "../x"])
def test_an_unfit_request_id_is_replaced(client, unfit):
    given_id = client("GET", "/things", {"x-request-id": unfit}).headers["x-request-id"]

    assert given_id != unfit
    assert given_id != client("GET", "/things").headers["x-request-id"]


def test_the_access_log_names_the_template_and_never_the_path(client, logged, caplog):
    client("PATCH", f"/v1/things/{RUN}", query_string="", headers={"x-request-id": "r1"})
    client("GET", "/nowhere/secret-token", query_string="token=secret-token")

    known, unknown = logged()
    assert known["ms"] >= 0
    assert {k: v for k, v in known.items() if k != "ms"} == {
        "method": "PATCH",
        "route": "/things/{run_id}",
        "status": 200,
        "request_id": "r1",
        "principal": "local-user",
    }
    assert unknown["route"] is None
    assert unknown["status"] == 404
    assert "secret-token" not in caplog.text + json.dumps(logged())
    assert RUN not in json.dumps(logged())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/things", 421), ("GET", "/nowhere", 421), ("POST", "/webhooks/hello", 421),
     ("GET", "/healthz", 200), ("GET", "/v1/healthz", 200)],
)  # fmt: skip
def test_another_servers_name_is_refused_but_for_health(make_app, method, path, status):
    answer = testing.simulate_request(make_app(), method, path, host="evil.example", headers=GOOD)

    assert answer.status_code == status


def test_a_request_without_a_host_is_refused(make_app):
    answer = testing.simulate_get(make_app(), "/things", http_version="1.0", headers=GOOD)

    assert answer.json["error_code"] == "wrong_host"


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
@pytest.mark.parametrize("client_headers", [{}, GOOD])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/things", "/v1/things", "/healthz", "/nowhere"])
def test_a_change_from_another_site_is_refused_before_anything_else(
    client_of, headers, client_headers, method, path
):
    answer = client_of(client_headers, secret=None)(method, path, headers)

    assert (answer.status_code, answer.json["error_code"]) == (403, "cross_origin")


def test_reads_and_signed_deliveries_may_come_from_anywhere(client):
    foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}

    assert client("GET", "/things", foreign).status_code == 200
    assert client("POST", "/webhooks/hello", foreign).status_code == 200
    assert client("POST", "/v1/webhooks/hello", foreign).status_code == 200
    assert client("OPTIONS", "/things", foreign).status_code == 200


def test_tls_is_told_by_the_connection_or_by_a_trusted_proxy(client_of):
    claimed = {"x-forwarded-proto": "https"}
    behind = client_of(trusted_proxies=["127.0.0.0/8"])
    hsts = "strict-transport-security"

    assert hsts in client_of()("GET", "/things", protocol="https").headers
    assert hsts not in client_of()("GET", "/things", claimed).headers
    assert hsts in behind("GET", "/things", claimed, remote_addr="127.0.0.1").headers
    assert hsts in behind("GET", "/nowhere", claimed, remote_addr="127.0.0.1").headers
    assert hsts not in behind("GET", "/things", claimed, remote_addr="192.0.2.1").headers


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/%ff", "/%00", "/things/%2e%2e", "/%F0%9F%98%80", "//"]
)
def test_odd_paths_are_not_our_failure(client, path):
    assert client("GET", path).status_code in {400, 404}


def test_a_resource_that_is_not_an_operation_is_behind_the_gate_too(client_of):
    class Raw:
        async def on_get(self, _request, response):
            response.text = "raw"

    routes = [Route("/raw", Raw())]
    assert client_of({}, routes=routes)("GET", "/raw").status_code == 401
    assert client_of(routes=routes)("GET", "/raw").text == "raw"


def test_what_fails_outside_of_the_frameworks_handling_is_a_problem_too(client_of):
    class Raw:
        async def on_get(self, _request, response):
            response.set_header("x-price", "5 \u20ac")

    answer = client_of(routes=[Route("/raw", Raw())])("GET", "/raw", {"x-request-id": "r1"})

    assert (answer.status_code, answer.json["error_code"]) == (500, "internal_error")
    assert answer.json["instance"] == answer.headers["x-request-id"] == "r1"
    assert answer.headers.items() >= FIXED.items()


def test_a_websocket_is_closed_unopened(make_app):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/things", "headers": [], "query_string": b""}
    call = make_app()(scope, receive, send)
    with pytest.raises(StopIteration):
        call.send(None)
    assert sent == [{"type": "websocket.close"}]


ANY_HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)


@settings(max_examples=150, deadline=None)
@given(host=ANY_HEADER, origin=ANY_HEADER, request_id=ANY_HEADER, secret=ANY_HEADER, method=st.sampled_from(["GET", "POST"]))  # fmt: skip
def test_no_header_breaks_the_kernel_or_opens_it(
    app_once, host, origin, request_id, secret, method
):
    headers = {"origin": origin, "x-request-id": request_id, "x-floom-secret": secret}
    answer = testing.simulate_request(app_once, method, "/things", host=host, headers=headers)

    assert 400 <= answer.status_code < 500
    assert answer.json["error_code"] in {"wrong_host", "cross_origin", "unauthenticated"}


@settings(max_examples=150, deadline=None)
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["accept", "content-type", "content-length", "cookie", "authorization", "range",
             "x-forwarded-proto", "x-forwarded-for", "idempotency-key", "sec-fetch-site"]
        ),
        ANY_HEADER,
    ),
    query=st.text(st.characters(max_codepoint=127), max_size=40).map(lambda text: text.lstrip("?")),
    raw=st.binary(max_size=40),
    method=st.sampled_from(["GET", "POST", "PATCH"]),
)  # fmt: skip
def test_no_other_header_query_or_body_breaks_it(app_once, headers, query, raw, method):
    answer = testing.simulate_request(
        app_once, method, f"/things/{RUN}" if method == "PATCH" else "/things",
        host="localhost", headers=GOOD | headers, query_string=query, body=raw or None,
    )  # fmt: skip

    assert answer.status_code < 500
    assert answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def app_once():
    """One application for all examples of a property."""
    clock = ManualClock()
    return create_app(
        routes_of(Things(clock)),
        authenticator=Authenticator(secret=SECRET, shared_secret_role=Role.MEMBER),
        clock=clock,
        public_url="http://localhost",
        shutdown=Shutdown(),
    )
