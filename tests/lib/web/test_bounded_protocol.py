"""Bounds of a request before the application is asked, and how they are answered."""

import heapq
import itertools
import json
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from lib.web.bounded_protocol import MAX_FIELDS, MAX_HEAD_BYTES, BoundedProtocol
from tests.lib.web.serving import Served, read_until
from tests.lib.web.things import SECRET

GET = b"GET /things HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /things HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
KNOWN = f"x-floom-secret: {SECRET}\r\n".encode()
UPLOAD = POST + b"content-length: 1000000\r\n\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


class Loop:
    """A clock that is advanced by hand, and what is due by it."""

    def __init__(self):
        self.now = 0.0
        self.order = itertools.count()
        self.timers = []
        self.tasks = 0

    def time(self):
        return self.now

    def call_later(self, seconds, callback, *args):
        timer = Timer(callback, args)
        heapq.heappush(self.timers, (self.now + seconds, next(self.order), timer))
        return timer

    def call_soon(self, callback):
        self.call_later(0, callback)

    def advance(self, seconds):
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self.timers)
            timer.fire()
        self.now = end

    def create_task(self, coroutine):
        coroutine.close()  # the application is not part of these tests
        self.tasks += 1
        return self

    def add_done_callback(self, _callback):
        pass


class Timer:
    def __init__(self, callback, args):
        self.callback, self.args, self.cancelled = callback, args, False

    def cancel(self):
        self.cancelled = True

    def fire(self):
        if not self.cancelled:
            self.callback(*self.args)


class Transport:
    def __init__(self):
        self.written = b""
        self.closed = False

    def get_extra_info(self, _name, default=None):
        return default

    def write(self, data):
        assert not self.closed
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def no_application(_scope, _receive, _send):
    pass


class Connection:
    """A protocol without a network, an application or time that passes by itself."""

    def __init__(self):
        self.loop = Loop()
        self.transport = Transport()
        config = uvicorn.Config(no_application, http=BoundedProtocol, log_config=None)
        config.load()
        self.protocol = BoundedProtocol(config, ServerState(), {}, cast("Any", self.loop))
        self.protocol.connection_made(cast("Any", self.transport))

    def receive(self, data):
        self.protocol.data_received(data)
        self.loop.advance(0)

    def read_what_came(self):
        """Do what the application does when it receives."""
        self.protocol.cycle.body.clear()
        self.protocol.flow.resume_reading()

    @property
    def status(self):
        return int(self.transport.written.split(b" ", 2)[1]) if self.transport.written else None


@pytest.fixture
def connection():
    return Connection()


def answer_of(raw):
    """Return status, fields and problem of an answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(line.split()[1]), headers, json.loads(body)


def is_a_problem_like_any_other(raw, status, code):
    found, headers, problem = answer_of(raw)
    assert (found, problem["status"], problem["error_code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["instance"]
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    return headers


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"get /things HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        GET + b"x : y\r\n\r\n",
        POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_problem(served, sent):
    is_a_problem_like_any_other(served.exchange(sent), 400, "malformed_request")


def test_a_request_id_that_was_read_is_kept(served):
    raw = served.exchange(GET + b"x-request-id: mine-1\r\na: b\r\nx : y\r\n\r\n")
    assert is_a_problem_like_any_other(raw, 400, "malformed_request")["x-request-id"] == "mine-1"


@pytest.mark.parametrize("value", [b"a b", b"a" * 129, b"<script>"])
def test_a_request_id_that_is_not_fit_is_replaced(served, value):
    raw = served.exchange(GET + b"x-request-id: " + value + b"\r\na: b\r\nx : y\r\n\r\n")
    headers = is_a_problem_like_any_other(raw, 400, "malformed_request")
    assert headers["x-request-id"].encode() != value


def test_a_body_that_breaks_its_framing_is_a_problem(served):
    raw = served.exchange(POST + KNOWN + b"transfer-encoding: chunked\r\n\r\nno size\r\n")
    is_a_problem_like_any_other(raw, 400, "malformed_request")


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 3 * MAX_HEAD_BYTES])
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_large_head_is_a_problem_however_it_arrives(size, end):
    head = GET + b"cookie: " + b"x" * size + end
    for step in (len(head), 1000):
        connection = Connection()
        for start in range(0, len(head), step):
            connection.receive(head[start : start + step])
            if connection.transport.closed:
                break
        is_a_problem_like_any_other(connection.transport.written, 431, "malformed_request")
        assert connection.transport.closed
        assert connection.loop.tasks == 0


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_too_many_fields_are_a_problem(connection, end):
    connection.receive(GET + b"a: b\r\n" * (MAX_FIELDS + 1) + end)
    is_a_problem_like_any_other(connection.transport.written, 431, "malformed_request")
    assert connection.loop.tasks == 0


def test_trailers_are_fields_too(connection):
    connection.receive(CHUNKED + b"0\r\n" + b"a: b\r\n" * MAX_FIELDS)
    assert connection.transport.closed


def test_a_large_body_behind_a_head_is_not_taken_for_the_head(connection):
    connection.receive(UPLOAD + b"x" * 4 * MAX_HEAD_BYTES)
    assert not connection.transport.closed
    connection.read_what_came()
    connection.receive(b"x" * (1_000_000 - 4 * MAX_HEAD_BYTES) + GET)
    assert not connection.transport.closed


@pytest.mark.parametrize("sent", [UPLOAD, UPLOAD + b"{", CHUNKED, CHUNKED + b"5\r\n{"])
def test_a_body_that_stands_still_is_answered_and_ended(connection, sent):
    connection.receive(sent)
    connection.loop.advance(BoundedProtocol.body_seconds - 0.1)
    assert not connection.transport.closed
    connection.loop.advance(0.2)

    is_a_problem_like_any_other(connection.transport.written, 408, "request_timeout")
    assert connection.transport.closed
    assert connection.protocol.cycle.disconnected  # the application hears of it
    assert connection.protocol.cycle.message_event.is_set()


def test_an_upload_that_makes_progress_takes_as_long_as_it_needs(connection):
    connection.receive(UPLOAD)
    for _ in range(60):  # 100 kB, half an hour
        connection.loop.advance(BoundedProtocol.body_seconds - 0.1)
        connection.receive(b"x" * 16_000)
        connection.read_what_came()
    assert connection.loop.now > 1700
    assert not connection.transport.closed


def test_a_byte_now_and_then_does_not_hold_a_connection(connection):
    connection.receive(UPLOAD)
    while not connection.transport.closed:
        connection.loop.advance(1.0)
        if not connection.transport.closed:
            connection.receive(b"x")
        assert connection.loop.now < 2 * BoundedProtocol.body_seconds
    assert connection.status == 408


def test_a_client_that_we_do_not_read_from_is_not_slow(connection):
    connection.receive(UPLOAD + b"x" * 200_000)
    assert connection.protocol.flow.read_paused
    connection.loop.advance(10 * BoundedProtocol.body_seconds)
    assert not connection.transport.closed

    connection.read_what_came()
    connection.loop.advance(2 * BoundedProtocol.body_seconds)
    assert connection.status == 408


def test_a_stalled_body_cuts_no_answer_that_was_begun(connection):
    connection.receive(UPLOAD)
    connection.protocol.cycle.response_started = True
    connection.loop.advance(2 * BoundedProtocol.body_seconds)
    assert (connection.status, connection.transport.closed) == (None, False)
    assert not connection.protocol.cycle.keep_alive  # it ends with the answer


def test_a_stalled_body_that_was_answered_ends_the_connection(connection):
    connection.receive(UPLOAD)
    connection.protocol.cycle.response_started = True
    connection.protocol.cycle.response_complete = True
    connection.loop.advance(2 * BoundedProtocol.body_seconds)
    assert (connection.status, connection.transport.closed) == (None, True)


def test_an_answer_to_head_has_no_body(connection):
    connection.receive(b"HEAD /things HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n")
    connection.loop.advance(2 * BoundedProtocol.body_seconds)
    assert connection.status == 408
    assert connection.transport.written.endswith(b"\r\n\r\n")


def test_a_whole_request_may_take_as_long_as_it_takes(connection):
    connection.receive(POST + b"content-length: 2\r\n\r\n{}")
    connection.loop.advance(10 * BoundedProtocol.body_seconds)
    assert not connection.transport.closed


def test_a_connection_that_asks_nothing_is_closed_without_a_word(connection):
    connection.loop.advance(BoundedProtocol.head_seconds)
    assert (connection.status, connection.transport.closed) == (None, True)


def test_a_head_that_does_not_end_is_answered(connection):
    for byte in GET:
        connection.receive(bytes([byte]))
        connection.loop.advance(0.01)
    connection.loop.advance(BoundedProtocol.head_seconds)
    is_a_problem_like_any_other(connection.transport.written, 408, "request_timeout")
    assert connection.transport.closed


def test_the_next_head_has_its_own_time(connection):
    connection.receive(GET + b"\r\n")
    connection.protocol.cycle.response_started = True
    connection.protocol.cycle.response_complete = True
    connection.loop.advance(1000)
    connection.receive(GET)
    connection.loop.advance(BoundedProtocol.head_seconds - 0.1)
    assert not connection.transport.closed
    connection.loop.advance(0.2)
    assert connection.status == 408


def test_what_follows_a_request_that_is_being_answered_is_not_answered_first(connection):
    connection.receive(GET + b"\r\n" + b"no request\r\n\r\n")
    assert (connection.status, connection.transport.closed) == (None, False)
    assert not connection.protocol.cycle.keep_alive


def test_over_the_wire_a_stalled_body_gets_its_answer(make_app, shutdown):
    class Impatient(BoundedProtocol):
        body_seconds = 0.05

    served = Served(make_app(), shutdown, http=Impatient)
    with served.connect() as connection:
        connection.sendall(POST + KNOWN + b"content-length: 20\r\n\r\n{")
        raw = read_until(connection, b'"instance"')
        while chunk := connection.recv(65536):
            raw += chunk
    served.stop()

    is_a_problem_like_any_other(raw, 408, "request_timeout")
