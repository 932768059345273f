"""What only a real connection shows: bodies as they arrive, streams, the end."""

import json
import threading

import pytest

from lib.web.access import Access
from lib.web.call import Reply
from lib.web.media import Media
from lib.web.operation import operation
from lib.web.route import Route
from tests.lib.web.serving import DEADLINE_SECONDS, Served, read_all, read_until
from tests.lib.web.things import SECRET

HEAD = f"host: localhost\r\nx-floom-secret: {SECRET}\r\n"
RUN = "run_01jd0000000000000000000000"


def request(line, *headers, close=True):
    fields = "".join(f"{header}\r\n" for header in headers)
    ending = "connection: close\r\n" if close else ""
    return f"{line} HTTP/1.1\r\n{HEAD}{fields}{ending}\r\n".encode("latin-1")


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


JSON_CHUNKED = ("content-type: application/json", "transfer-encoding: chunked")


def test_a_chunked_body_is_read_whole(served):
    answer = served.exchange(
        request("POST /things", *JSON_CHUNKED) + chunked(b'{"name":', b'"a"', b"}")
    )

    assert status_of(answer) == 201


def test_a_chunked_body_over_its_cap_is_refused_while_it_is_read(served):
    with served.connect() as connection:
        connection.sendall(request("POST /things", *JSON_CHUNKED))
        # No end is ever sent: the answer must come without it.
        connection.sendall(b"%x\r\n%s\r\n" % (300_000, b" " * 300_000))
        answer = read_until(connection, b"payload_too_large")

    assert status_of(answer) == 413


def test_a_declared_length_over_the_cap_is_refused_before_the_rest_comes(served):
    with served.connect() as connection:
        connection.sendall(
            request("POST /things", "content-type: application/json", "content-length: 99999999")
        )
        connection.sendall(b"{")
        answer = read_until(connection, b"payload_too_large")

    assert status_of(answer) == 413


def test_a_raw_body_is_counted_too(served):
    kind = "content-type: application/octet-stream"
    fits, over = bytes(100_000), bytes(100_001)
    chunk = "transfer-encoding: chunked"

    fit = served.exchange(
        request("PUT /bytes", kind, chunk) + chunked(fits[:50_000], fits[50_000:])
    )
    assert fit.endswith(fits)
    assert status_of(served.exchange(request("PUT /bytes", kind, chunk) + chunked(over))) == 413
    assert (
        status_of(served.exchange(request("PUT /bytes", kind, "content-length: 100001") + over))
        == 413
    )


def test_a_body_that_ends_early_is_not_taken_for_a_whole_one(served, caplog):
    for framing in ("transfer-encoding: chunked", "content-length: 100"):
        with served.connect() as connection:
            connection.sendall(
                request(f"PATCH /things/{RUN}", "content-type: application/json", framing)
            )
            connection.sendall(b"2\r\n{}\r\n" if "chunked" in framing else b"{}")
    served.stop()

    assert "request_failed" not in caplog.text


@pytest.mark.parametrize(
    "target", ["/things?q=\xff", "/things?q=%ff", "/th%ffings", "/a%2Fb", "/%00", "/things?%ff=1",
               "//things", "/things?q=%ud800", "*", "/things#x"]
)  # fmt: skip
def test_odd_targets_are_not_our_failure(served, target):
    assert status_of(served.exchange(request(f"GET {target}"))) < 500


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "OPTIONS"])
def test_odd_methods_are_not_our_failure(served, method):
    assert status_of(served.exchange(request(f"{method} /things"))) < 500


@pytest.mark.parametrize(
    "header",
    ["x-request-id: \xff", "origin: \xff", "cookie: \xff=\xfe", "content-type: \xff",
     "accept: ;;;", "x-forwarded-for: \xff", "content-length: -1", "content-length: x",
     "idempotency-key: \xff", "authorization: \xff"],
)  # fmt: skip
def test_odd_headers_are_not_our_failure(served, header):
    assert status_of(served.exchange(request("POST /things", header))) < 500


def test_head_has_no_body_and_keeps_the_connection(served):
    with served.connect() as connection:
        connection.sendall(request("HEAD /things", close=False) + request("GET /things"))
        answers = read_all(connection)

    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.count(b'"name"') == 1


def test_an_event_stream_frames_its_events_and_beats(served):
    with served.connect() as connection:
        connection.sendall(request("GET /events"))
        answer = read_until(connection, b": heartbeat\n\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: text/event-stream" in head
    assert b"cache-control: no-store" in head
    assert b'id: 1\nevent: log\ndata: {"message":"hello"}\n\n' in body
    assert b"id: 2\nevent: note\ndata: two\ndata: lines\n\n" in body


def test_a_stream_is_closed_when_its_client_leaves(served, things):
    with served.connect() as connection:
        connection.sendall(request("GET /events"))
        read_until(connection, b"lines")

    assert things.closed.acquire(timeout=DEADLINE_SECONDS)


def test_the_end_comes_promptly_with_streams_and_a_poll_open(make_app, shutdown, things):
    served = Served(make_app(), shutdown)
    answers = []
    connections = [served.connect() for _ in range(21)]
    for connection in connections[:20]:
        connection.sendall(request("GET /events", close=False))
    connections[20].sendall(request("GET /poll", close=False))
    for _ in connections:
        assert things.opened.acquire(timeout=DEADLINE_SECONDS)
    readers = [
        threading.Thread(target=lambda c=connection: answers.append(read_all(c)))
        for connection in connections
    ]
    for reader in readers:
        reader.start()

    served.stop()

    for reader, connection in zip(readers, connections, strict=True):
        reader.join(DEADLINE_SECONDS)
        connection.close()
    assert sum(answer.endswith(b"0\r\n\r\n") for answer in answers) == 20  # ended, not cut off
    assert sum(b'{"force":false}' in answer for answer in answers) == 1
    assert all(things.closed.acquire(timeout=DEADLINE_SECONDS) for _ in range(20))


def test_a_failure_in_the_middle_of_an_answer_cuts_the_connection(make_app, shutdown, caplog):
    async def content():
        yield b"half"
        raise ValueError("the disk")

    class Broken:
        @operation(
            "broken", access=Access.MEMBER, summary="Broken", responses={200: Media("text/plain")}
        )
        async def on_get(self, _call):
            return Reply(content(), media_type="text/plain")

    served = Served(make_app(routes=[Route("/broken", Broken())]), shutdown)
    answer = served.exchange(request("GET /broken"))
    served.stop()

    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"disk" not in answer
    assert "request_failed" in caplog.text


def test_problems_look_the_same_on_the_wire(served):
    answer = served.exchange(request("GET /nowhere"))
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])

    assert problem["error_code"] == "route_not_found"
    assert f"x-request-id: {problem['instance']}".encode() in answer
