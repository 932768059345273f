"""The audit log: who asked for a change is on record before they are answered."""

import asyncio
import json
import logging
import threading
from urllib.parse import quote

import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.authenticator import Authenticator
from lib.auth.principal import Principal, Role
from lib.clock import ManualClock
from lib.errors import Unauthenticated
from lib.storage.audit_records import AuditQuery
from lib.storage.memory import MemoryAuditStore
from lib.storage.ports import StoreUnavailable
from lib.web.access import Access
from lib.web.app import create_app
from lib.web.audit import AuditActor
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.shutdown import Shutdown
from lib.web.threads import blocking
from tests.lib.web.things import SECRET, Things, routes_of

RUN = "run_01jd0000000000000000000000"
CREATE = {"body": '{"name": "a"}', "headers": {"content-type": "application/json"}}


class Links:
    """A public route that finds out by itself who it is, and one that nobody need answer for."""

    @operation("vote", access=Access.PUBLIC, summary="Vote", responses={204: None})
    async def on_post(self, call, token):
        if token != "good":
            raise Unauthenticated("Use a good link.")
        call.audit_as(AuditActor("anna@example.org", None, "review_link"))

    @operation("signIn", access=Access.PUBLIC, summary="Sign in", responses={204: None})
    async def on_get(self, call, token):
        call.audit_as(AuditActor("usr_1", Role.ADMIN, "magic_link"))

    @operation("peek", access=Access.MEMBER, summary="Peek", responses={204: None})
    async def on_get_peek(self, call, connection_id):
        call.audit_as(AuditActor.of(call.principal))


class Waiting:
    """Begins something and waits for ever."""

    def __init__(self):
        self.begun = asyncio.Event()

    @operation("wait", access=Access.MEMBER, summary="Wait", responses={204: None})
    async def on_post(self, _call):
        self.begun.set()
        await asyncio.Event().wait()


class RunTokens:
    """Takes everybody for a run."""

    def authenticate(self, _credentials):
        return Principal(RUN, Role.MEMBER, "run_token")


@pytest.fixture
def audit():
    return MemoryAuditStore()


@pytest.fixture
def routes(things):
    links = Links()
    return [
        *routes_of(things),
        Route("/share/{token}", links),
        Route("/approvals/public/{token}/approve", links),
        Route("/connections/{connection_id}/peek", links, "peek"),
    ]


@pytest.fixture
def audited(client_of, audit):
    return client_of(audit=audit)


def entries(audit):
    """Return all entries, oldest first."""
    return audit.list(AuditQuery(), limit=1000).rows[::-1]


def test_an_entry_says_who_did_what_to_what(audited, audit, clock):
    answer = audited(
        "PATCH", f"/v1/things/{RUN}?x=1", {"x-request-id": "mine"}, remote_addr="192.0.2.9"
    )
    assert answer.status_code == 422
    (entry,) = entries(audit)
    assert entry.id.startswith("aud_")
    assert entry.at == clock.now()
    assert (entry.user_id, entry.role, entry.method) == ("local-user", "member", "shared_secret")
    assert (entry.http_method, entry.route) == ("PATCH", "/things/{run_id}")
    assert entry.object == {"run_id": RUN}
    assert (entry.status, entry.error_code) == (422, "validation_failed")
    assert (entry.address, entry.request_id) == ("192.0.2.9", "mine")


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", "/things", CREATE, 201, None),
        ("POST", "/things", CREATE | {"body": '{"name": "taken"}'}, 409, "thing_conflict"),
        ("POST", "/things", CREATE | {"body": '{"name": "slow down"}'}, 429, "rate_limited"),
        ("POST", "/things", CREATE | {"body": '{"name": 1}'}, 422, "validation_failed"),
        ("POST", "/things", CREATE | {"body": "{"}, 400, "malformed_request"),
        ("POST", "/things", {"body": "x"}, 415, "unsupported_media_type"),
        ("POST", "/things", CREATE | {"body": " " * 300_000}, 413, "payload_too_large"),
        ("DELETE", "/things", {}, 403, "forbidden"),
        ("PUT", "/things", {}, 405, "method_not_allowed"),
        ("PATCH", "/things/no-run", {}, 400, "malformed_request"),
        ("POST", "/nowhere", {}, 404, "route_not_found"),
    ],
)
def test_every_outcome_is_on_record(audited, audit, method, path, given, status, code):
    assert audited(method, path, **given).status_code == status
    (entry,) = entries(audit)
    assert (entry.http_method, entry.status, entry.error_code) == (method, status, code)


def test_a_defect_is_on_record(client_of, audit, clock):
    class Defect(Things):
        @operation("d", access=Access.MEMBER, summary="D", responses={204: None})
        async def on_post_one(self, _call, run_id):
            raise ValueError("a detail that nobody may read")

    call = client_of(audit=audit, routes=[Route("/things/{run_id}", Defect(clock), "one")])
    assert call("POST", f"/things/{RUN}").status_code == 500
    (entry,) = entries(audit)
    assert (entry.status, entry.error_code) == (500, "internal_error")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_who_only_reads_is_not_on_record(audited, audit, method):
    audited(method, "/things")
    audited(method, "/nowhere")
    assert entries(audit) == ()


@pytest.mark.parametrize("path", ["/things", "/nowhere", f"/things/{RUN}"])
def test_who_nobody_knows_is_not_on_record(client_of, audit, path):
    for headers in ({}, {"x-floom-secret": "wrong"}, {"authorization": "Bearer fpt_x"}):
        assert client_of(headers, audit=audit)("POST", path).status_code == 401
    assert entries(audit) == ()


def test_another_origins_page_is_not_on_record(audited, audit):
    """It is refused before anybody looks at who sent it."""
    assert audited("DELETE", "/things", {"origin": "https://evil.example"}).status_code == 403
    assert entries(audit) == ()


@pytest.mark.parametrize("path", [f"/runs/{RUN}/logs", "/things", "/nowhere"])
def test_a_run_is_not_on_record(client_of, audit, things, path):
    routes = [*routes_of(things), Route("/runs/{run_id}/logs", Links())]
    call = client_of(audit=audit, authenticator=RunTokens(), routes=routes)
    call("POST", path)
    assert entries(audit) == ()


def test_a_public_route_says_who_it_was(client_of, audit):
    call = client_of({}, audit=audit)
    assert call("POST", "/approvals/public/good/approve").status_code == 204
    assert call("POST", "/approvals/public/bad/approve").status_code == 401
    assert call("GET", "/share/good").status_code == 204
    assert call("POST", "/webhooks/hello").status_code == 200
    vote, sign_in = entries(audit)
    assert (vote.user_id, vote.role, vote.method) == ("anna@example.org", None, "review_link")
    assert (vote.route, vote.object) == ("/approvals/public/{token}/approve", {})
    assert (sign_in.http_method, sign_in.user_id, sign_in.role) == ("GET", "usr_1", "admin")


def test_a_read_may_be_put_on_record(audited, audit):
    connection = "con_01jd0000000000000000000000"
    assert audited("GET", f"/connections/{connection}/peek").status_code == 204
    (entry,) = entries(audit)
    assert (entry.user_id, entry.object) == ("local-user", {"connection_id": connection})


def test_the_address_is_the_clients_in_its_one_spelling(make_app, audit):
    app = make_app(audit=audit, trusted_proxies=["127.0.0.0/8"])
    headers = {"x-floom-secret": SECRET, "x-forwarded-for": "203.0.113.9, ::ffff:192.0.2.7"}

    class Proxied:
        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope["client"] = ("127.0.0.1", 4711)
            await app(scope, receive, send)

    testing.simulate_request(Proxied(), "POST", "/things", host="localhost", headers=headers)
    (entry,) = entries(audit)
    assert entry.address == "192.0.2.7"


class Order(MemoryAuditStore):
    """Notes when an entry was durable."""

    def __init__(self, events):
        super().__init__()
        self._events = events

    def append(self, entry):
        super().append(entry)
        self._events.append("durable")


def test_an_entry_is_durable_before_the_first_byte_of_the_answer_leaves(make_app):
    events: list[str] = []
    app = make_app(audit=Order(events))

    async def watched(scope, receive, send):
        async def watching(message):
            events.append(message["type"])
            await send(message)

        await app(scope, receive, watching)

    class Watched:
        __call__ = staticmethod(watched)

    testing.simulate_request(
        Watched(), "POST", "/things", host="localhost", headers={"x-floom-secret": SECRET}
    )
    answered = [event for event in events if not event.startswith("lifespan")]
    assert answered == ["durable", "http.response.start", "http.response.body"]


class Down:
    """A store that cannot be written."""

    def append(self, _entry):
        raise StoreUnavailable("The database cannot be used now: disk full.")


class Told(MemoryAuditStore):
    """Tells when an entry is durable."""

    def __init__(self):
        super().__init__()
        self.durable = threading.Event()

    def append(self, entry):
        super().append(entry)
        self.durable.set()


class Patient:
    """Has its effect, then waits until its entry is durable, and may fail after that."""

    def __init__(self, durable):
        self._durable = durable

    @operation("begin", access=Access.MEMBER, summary="Begin", responses={200: None})
    async def on_post(self, call, thing_id):
        call.put_on_record(202)
        assert await blocking(self._durable.wait, 20)
        if thing_id == "bad":
            raise ValueError


@pytest.mark.parametrize(("thing", "answered"), [("good", 200), ("bad", 500)])
def test_a_call_that_waits_is_on_record_before_it_has_waited(client_of, thing, answered):
    audit = Told()
    patient = Patient(audit.durable)
    call = client_of(audit=audit, routes=[Route("/patient/{thing_id}", patient)])
    assert call("POST", f"/patient/{thing}").status_code == answered
    (entry,) = entries(audit)  # once, whatever comes after it
    assert (entry.status, entry.error_code) == (202, None)


def test_a_call_that_need_not_wait_after_all_is_on_record_once(client_of, audit):
    class Quick:
        @operation("begin", access=Access.MEMBER, summary="Begin", responses={200: None})
        async def on_post(self, call, thing_id):
            call.put_on_record(202)

    call = client_of(audit=audit, routes=[Route("/patient/{thing_id}", Quick())])
    assert call("POST", "/patient/good").status_code == 200
    (entry,) = entries(audit)
    assert entry.status == 202


def test_a_call_that_fails_at_once_after_its_effect_is_on_record_by_that(client_of, audit):
    class Quick:
        @operation("begin", access=Access.MEMBER, summary="Begin", responses={200: None})
        async def on_post(self, call, thing_id):
            call.put_on_record(202)
            raise ValueError

    call = client_of(audit=audit, routes=[Route("/patient/{thing_id}", Quick())])
    assert call("POST", "/patient/good").status_code == 500
    (entry,) = entries(audit)
    assert (entry.status, entry.error_code) == (202, None)


def test_who_is_nobody_is_not_on_record_early_either(client_of, audit):
    class Public(Patient):
        @operation("begin", access=Access.PUBLIC, summary="Begin", responses={200: None})
        async def on_post(self, call, token):
            call.put_on_record(202)

    routes = [Route("/approvals/public/{token}/approve", Public(threading.Event()))]
    call = client_of({}, audit=audit, routes=routes)
    assert call("POST", "/approvals/public/x/approve").status_code == 200
    assert entries(audit) == ()


def test_an_entry_that_cannot_be_written_costs_nobody_their_answer(client_of, caplog):
    with caplog.at_level(logging.ERROR):
        answer = client_of(audit=Down())("PATCH", f"/things/{RUN}")
    assert answer.status_code == 200
    (record,) = caplog.records
    assert record.getMessage() == "audit_failed"
    fields = record.floom_fields
    assert "disk full" in fields["reason"]
    assert (fields["user_id"], fields["route"]) == ("local-user", "/things/{run_id}")
    assert fields["object"] == {"run_id": RUN}


def test_other_requests_are_served_while_an_entry_is_written(make_app):
    """The loop does not wait for the disk."""
    writing, may_end = threading.Event(), threading.Event()

    class Slow(MemoryAuditStore):
        def append(self, entry):
            writing.set()
            assert may_end.wait(10)

    app = make_app(audit=Slow())
    given = {"host": "localhost", "headers": {"x-floom-secret": SECRET}}

    async def run():
        async with testing.ASGIConductor(app) as conductor:
            change = asyncio.ensure_future(conductor.simulate_request("POST", "/things", **given))
            await asyncio.to_thread(writing.wait, 10)
            assert (await conductor.simulate_request("GET", "/things", **given)).status_code == 200
            assert not change.done()
            may_end.set()
            assert (await change).status_code == 400

    asyncio.run(run())


def unanswered(app, path):
    """Begin a call that must get no answer."""
    scope = testing.create_scope(
        path=path, method="POST", host="localhost", headers={"x-floom-secret": SECRET}
    )

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message):
        pytest.fail("there is no answer")

    return asyncio.ensure_future(app(scope, receive, send))


def test_a_call_that_a_stop_cuts_off_is_on_record_without_a_status(make_app, audit):
    """What it began may have its effect still."""
    waiting = Waiting()
    app = make_app(audit=audit, routes=[Route("/wait", waiting)])

    async def run():
        call = unanswered(app, "/wait")
        await asyncio.wait_for(waiting.begun.wait(), 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    (entry,) = entries(audit)
    assert (entry.route, entry.status, entry.error_code) == ("/wait", None, None)


def test_a_call_that_is_cut_off_while_it_is_put_on_record_stays_on_record(make_app):
    """However early: nothing of the write may have begun."""

    class Cut:
        @operation("cut", access=Access.MEMBER, summary="Cut", responses={200: None})
        async def on_post(self, _call):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)

    audit = Told()
    app = make_app(audit=audit, routes=[Route("/cut", Cut())])

    async def run():
        with pytest.raises(asyncio.CancelledError):
            await unanswered(app, "/cut")
        assert await asyncio.to_thread(audit.durable.wait, 20)

    asyncio.run(run())
    (entry,) = entries(audit)
    assert (entry.route, entry.status) == ("/cut", 200)


MARK = "MARK"
MARKED = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(
    lambda text: text + MARK + text
)


@given(
    path=st.sampled_from(
        ["/things/{}", "/webhooks/{}", "/nowhere/{}", "/approvals/public/{}/approve"]
    ),
    text=MARKED,
    query=st.sampled_from(["", f"{MARK}=1", f"x={MARK}"]),
    header=st.sampled_from(["x-request-id", "cookie", "user-agent", "prefer", "idempotency-key"]),
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    body=MARKED,
)
def test_nothing_that_was_sent_is_in_an_entry(path, text, query, header, method, body):
    store = MemoryAuditStore()
    app = create_marked(store)
    testing.simulate_request(
        app, method, path.format(quote(text, safe="")), host="localhost",
        headers={"x-floom-secret": SECRET, header: f"{MARK} !"}, query_string=query,
        body=json.dumps({"name": body}),
    )  # fmt: skip
    assert MARK not in repr(entries(store))


def create_marked(store):
    """Return an application on a store of its own."""
    clock = ManualClock()
    return create_app(
        [*routes_of(Things(clock)), Route("/approvals/public/{token}/approve", Links())],
        authenticator=Authenticator(secret=SECRET, shared_secret_role=Role.ADMIN),
        clock=clock,
        public_url="http://localhost",
        shutdown=Shutdown(),
        audit=store,
    )
