"""Limits of operations: counted by caller and window, in the shared store."""

import pytest
from falcon import testing

from lib.auth.principal import Principal, Role
from lib.errors import RateLimited
from lib.storage.memory import MemoryRateStore
from lib.storage.ports import StoreUnavailable
from lib.web import openapi
from lib.web.access import Access
from lib.web.operation import operation
from lib.web.rate_limits import RateLimit, RateLimits
from lib.web.route import Route
from tests.lib.web.things import SECRET

LIMIT = RateLimit(2, per_seconds=60)


class Limited:
    """Operations with limits; counts the calls that got through."""

    def __init__(self):
        self.calls = 0

    @operation("a", access=Access.MEMBER, summary="A", responses={204: None}, limit=LIMIT)
    async def on_get(self, _call):
        self.calls += 1

    @operation("b", access=Access.ADMIN, summary="B", responses={204: None}, limit=LIMIT)
    async def on_post(self, _call):
        self.calls += 1

    @operation("c", access=Access.PUBLIC, summary="C", responses={204: None}, limit=LIMIT)
    async def on_get_public(self, _call, token):
        self.calls += 1

    @operation(
        "d",
        access=Access.PUBLIC,
        summary="D",
        responses={204: None},
        limit=RateLimit(2, per_seconds=60, by="worker_id"),
    )
    async def on_post_hook(self, _call, worker_id):
        self.calls += 1


class Users:
    """Takes a header's word for who is calling."""

    def authenticate(self, credentials):
        return Principal(credentials.shared_secret.decode(), Role.MEMBER, "token")


class Broken:
    """A store that is down."""

    def hit(self, _key, *, now, window_seconds):
        raise StoreUnavailable("The database cannot be used now.")


@pytest.fixture
def limited():
    return Limited()


@pytest.fixture
def routes(limited):
    return [
        Route("/limited", limited),
        Route("/share/{token}", limited, "public"),
        Route("/webhooks/{worker_id}", limited, "hook"),
    ]


@pytest.fixture
def limited_client(client_of):
    return client_of(rates=MemoryRateStore())


def test_one_call_too_many_is_refused_until_the_window_ends(limited_client, limited, clock):
    clock.advance(seconds=47.2)
    assert [limited_client("GET", "/limited").status_code for _ in range(2)] == [204, 204]
    answer = limited_client("GET", "/limited")
    assert (answer.status_code, answer.json["error_code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "13"
    assert "2 times in 60 seconds" in answer.json["detail"]
    assert limited.calls == 2
    clock.advance(seconds=12.799)
    assert limited_client("GET", "/limited").headers["retry-after"] == "1"
    clock.advance(milliseconds=1)
    assert limited_client("GET", "/limited").status_code == 204


def test_methods_aliases_and_callers_of_a_template_count_together(limited_client):
    assert limited_client("HEAD", "/limited").status_code == 204
    assert limited_client("GET", "/v1/limited").status_code == 204
    assert limited_client("GET", "/api/v1/limited").status_code == 429


def test_who_may_not_call_is_told_so_and_not_counted(limited_client):
    assert [limited_client("POST", "/limited").status_code for _ in range(4)] == [403] * 4
    assert limited_client("GET", "/limited").status_code == 204


def test_each_user_is_counted_alone(client_of):
    call = client_of({}, rates=MemoryRateStore(), authenticator=Users())
    for user in ("anna", "ben"):
        answers = [call("GET", "/limited", {"x-floom-secret": user}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 429]


def public_call(app, path, client, method="GET"):
    """Call a public route from an address."""
    return testing.simulate_request(app, method, path, host="localhost", remote_addr=client)


def test_on_a_public_route_each_address_is_counted_alone_whatever_the_token(make_app):
    app = make_app(rates=MemoryRateStore())
    for same in (["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::2"], ["192.0.2.2"]):
        answers = [public_call(app, f"/share/{n}", same[n % len(same)]) for n in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 429]


def test_a_limit_may_be_counted_by_a_path_parameter(make_app):
    app = make_app(rates=MemoryRateStore())
    for worker in ("one", "two"):
        path = f"/webhooks/{worker}"
        answers = [public_call(app, path, f"192.0.2.{n}", "POST") for n in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 429]


def test_servers_of_one_store_count_together(make_app, limited):
    store = MemoryRateStore()
    apps = [make_app(rates=store), make_app(rates=store)]
    answers = [public_call(apps[n % 2], "/share/x", "192.0.2.1") for n in range(4)]
    assert [answer.status_code for answer in answers] == [204, 204, 429, 429]


def test_without_counting_everything_gets_through(client):
    assert {client("GET", "/limited").status_code for _ in range(9)} == {204}


def test_where_nobody_knows_the_count_the_call_is_refused(client_of, limited):
    answer = client_of(rates=Broken())("GET", "/limited")
    assert (answer.status_code, answer.json["error_code"]) == (503, "store_unavailable")
    assert limited.calls == 0


def test_the_reference_tells_of_limits(routes):
    document = openapi.build(routes, version="1")
    described = document["paths"]["/share/{token}"]["get"]
    assert "`rate_limited`" in described["responses"]["429"]["description"]
    assert described["description"] == "At most 2 calls in 60 seconds."


@pytest.mark.parametrize(("most", "seconds"), [(0, 60), (-1, 60), (1, 0)])
def test_a_limit_that_lets_nothing_through_is_a_defect(most, seconds):
    with pytest.raises(ValueError, match="at least"):
        RateLimit(most, per_seconds=seconds)


def test_the_wait_is_never_nought(clock):
    """The window may end between the count and the answer."""

    class Slow(MemoryRateStore):
        def hit(self, key, *, now, window_seconds):
            clock.advance(seconds=window_seconds)
            return 99

    with pytest.raises(RateLimited) as caught:
        RateLimits(Slow(), clock).count(LIMIT, "/x", "user x")
    assert caught.value.retry_after_seconds == 1


def test_the_secret_of_the_tests_is_no_user(limited_client):
    """A shared secret is one user, however many people have it."""
    answers = [limited_client("GET", "/limited", {"x-floom-secret": SECRET}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [204, 204, 429]
