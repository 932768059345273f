"""Bad credentials: counted by address, and from the 21st on nothing is looked at."""

import threading

import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.credentials import Credentials
from lib.auth.principal import Principal, Role
from lib.clock import ManualClock
from lib.errors import RateLimited, Unauthenticated
from lib.storage.memory import MemoryRateStore
from lib.storage.ports import StoreUnavailable
from lib.web.bad_credentials import MAX_ADDRESSES, MAX_BAD_CREDENTIALS, BadCredentials
from lib.web.threads import MAX_THREADS
from tests.lib.web.serving import Served, read_until
from tests.lib.web.things import SECRET

GOOD = {"x-floom-secret": SECRET}
BAD = {"x-floom-secret": "wrong"}
ADDRESS = "192.0.2.1"
MOST = MAX_BAD_CREDENTIALS


class CountingStore(MemoryRateStore):
    """Counts its calls; may be down."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.is_down = False

    def hit(self, key, *, now, window_seconds):
        self.calls += 1
        if self.is_down:
            raise StoreUnavailable("The database cannot be used now.")
        return super().hit(key, now=now, window_seconds=window_seconds)


class Judge:
    """Knows one bearer token, and counts what it was asked."""

    def __init__(self):
        self.judged = 0
        self.lock = threading.Lock()

    def authenticate(self, credentials):
        with self.lock:
            self.judged += 1
        if credentials.authorization == b"Bearer good":
            return Principal("usr_1", Role.MEMBER, "token")
        raise Unauthenticated("The bearer token is unknown.")


@pytest.fixture
def store():
    return CountingStore()


@pytest.fixture
def call(make_app, store):
    app = make_app(rates=store)

    def call(headers, *, method="GET", path="/things", client=ADDRESS):
        return testing.simulate_request(
            app, method, path, host="localhost", headers=headers, remote_addr=client
        )

    return call


def statuses(call, headers, count, **given):
    return [call(headers, **given).status_code for _ in range(count)]


def test_after_twenty_bad_ones_even_a_good_one_is_refused_until_the_window_ends(call, clock):
    assert statuses(call, BAD, MOST) == [401] * MOST
    for headers in (BAD, GOOD, {"authorization": "Bearer fpt_x"}, {"cookie": "floom_session=x"}):
        answer = call(headers)
        assert (answer.status_code, answer.json["error_code"]) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "60"
    clock.advance(seconds=59.5)
    assert call(GOOD).headers["retry-after"] == "1"
    clock.advance(seconds=0.5)
    assert call(GOOD).status_code == 200
    assert call(BAD).status_code == 401


def test_nineteen_bad_ones_are_not_enough(call):
    statuses(call, BAD, MOST - 1)
    assert statuses(call, GOOD, 50) == [200] * 50


def test_a_missing_credential_is_not_a_bad_one(call):
    assert statuses(call, {}, 50) == [401] * 50
    assert call(GOOD).status_code == 200
    statuses(call, BAD, MOST)
    assert call({}).status_code == 401


def test_public_routes_are_open_to_a_refused_address(call):
    statuses(call, BAD, MOST + 1)
    assert call(BAD, path="/healthz").status_code == 200


def test_every_kind_counts_on_every_path(call):
    kinds = [
        BAD,
        {"authorization": "Bearer x"},
        {"authorization": ""},
        {"cookie": "floom_session="},
    ]
    for number in range(MOST):
        path = ("/things", "/nowhere", "/v1/bytes")[number % 3]
        assert call(kinds[number % 4], path=path).status_code == 401
    assert call(GOOD).status_code == 429
    assert call(GOOD, path="/nowhere").status_code == 429


def test_addresses_are_counted_alone_and_networks_of_ipv6_together(call):
    statuses(call, BAD, MOST)
    assert call(GOOD, client="192.0.2.2").status_code == 200
    assert call(GOOD, client="::ffff:192.0.2.1").status_code == 429
    statuses(call, BAD, MOST, client="2001:db8::1")
    assert call(GOOD, client="2001:db8::ffff").status_code == 429
    assert call(GOOD, client="2001:db8:0:1::1").status_code == 200


def test_while_an_address_is_refused_the_store_is_left_alone(call, store):
    statuses(call, BAD, MOST)
    assert store.calls == MOST
    statuses(call, BAD, 50)
    statuses(call, GOOD, 50)
    assert store.calls == MOST


def test_good_credentials_never_reach_the_store(call, store):
    statuses(call, GOOD, 50)
    assert store.calls == 0


def test_where_nobody_knows_the_count_a_bad_one_gets_503_and_is_counted_here(call, store):
    store.is_down = True
    assert statuses(call, BAD, MOST) == [503] * MOST
    assert call(GOOD).status_code == 429


def test_of_a_burst_no_more_are_judged_than_there_are_threads_beyond_the_limit(make_app, shutdown):
    judge = Judge()
    served = Served(make_app(rates=MemoryRateStore(), authenticator=judge), shutdown)
    request = b"GET /things HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\n\r\n"
    connections = [served.connect() for _ in range(100)]
    try:
        for connection in connections:
            connection.sendall(request)
        heads = [read_until(connection, b"\r\n\r\n") for connection in connections]
    finally:
        for connection in connections:
            connection.close()
        served.stop()
    assert {head.split(b" ", 2)[1] for head in heads} == {b"401", b"429"}
    assert MOST <= judge.judged < MOST + MAX_THREADS


def test_nothing_of_it_holds_on_the_socket_of_runs(make_app, store):
    app = make_app(rates=store)

    class OnUnixSocket:
        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope["client"] = None
            await app(scope, receive, send)

    for _ in range(MOST + 5):
        answer = testing.simulate_request(
            OnUnixSocket(), "GET", "/things", host="localhost",
            headers={"authorization": "Bearer frt_x"},
        )  # fmt: skip
        assert answer.status_code == 401
    assert store.calls == 0


def test_without_a_store_nothing_is_counted(bare):
    assert {bare("GET", "/things", BAD).status_code for _ in range(50)} == {401}


def guess(bad, client=ADDRESS):
    """Judge a bad credential and count it."""
    with pytest.raises(Unauthenticated):
        bad.judge(client, Judge().authenticate, Credentials(authorization=b"Bearer x"))
    bad.count(client)


def test_what_is_remembered_is_bounded_and_the_store_knows_the_rest(store, clock):
    bad = BadCredentials(store, clock)
    for _ in range(MOST):
        guess(bad)
    with pytest.raises(RateLimited):
        bad.check(ADDRESS)
    for number in range(MAX_ADDRESSES):
        guess(bad, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(bad._hits) == MAX_ADDRESSES
    bad.check(ADDRESS)  # forgotten: one more is judged
    with pytest.raises(RateLimited):
        guess(bad)
    with pytest.raises(RateLimited):
        bad.check(ADDRESS)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([0, 0, 0, 0, 0, 1, 29])),
    max_size=120,
)


@given(STEPS)
def test_no_order_of_servers_and_times_lets_more_be_judged(steps):
    """Of k servers at most k - 1 guesses more than the limit are looked at, and never a 401 for them."""
    clock, shared = ManualClock(), MemoryRateStore()
    servers = [BadCredentials(shared, clock) for _ in range(3)]
    window, judged, told = None, 0, 0
    for server, is_bad, seconds in steps:
        now = clock.advance(seconds=seconds).replace(second=0, microsecond=0)
        if now != window:
            window, judged, told = now, 0, 0
        try:
            servers[server].check(ADDRESS)
        except RateLimited:
            assert judged >= MOST
            continue
        if not is_bad:
            continue
        judged += 1
        try:
            guess(servers[server])
        except RateLimited:
            assert judged > MOST
        else:
            told += 1
        assert told <= MOST
        assert judged <= MOST + len(servers) - 1
