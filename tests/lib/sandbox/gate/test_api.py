"""What of the server a run reaches, over a real Unix socket."""

import json
import os
import socket
import threading

import pytest

from lib.sandbox.gate.api import MAX_BODY_BYTES, ApiDoor
from lib.sandbox.gate.settings import GateSettings
from tests.lib.sandbox.gate.running import read_all, read_head, serving, status_of

RUN = "run_01jd0000000000000000000000"
OTHER = "run_01jd0000000000000000000001"
TOKEN = "frt_" + "x" * 43
AUTHORIZATION = f"Authorization: Bearer {TOKEN}"


class Server:
    """Listens on the socket, records requests, and answers as it was told."""

    def __init__(self, path):
        self.path = path
        self.requests = []
        self.answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

    def start(self):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, args=(self._listener,))
        self._thread.start()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        self.path.unlink()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                head = read_head(connection).decode("latin-1")
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = b""
                while len(body) < length:
                    body += connection.recv(65_536)
                self.requests.append((head, body))
                connection.sendall(self.answer)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the gate's process does this itself
    server = Server(tmp_path / "api.sock")
    server.start()
    yield server
    if server.path.exists():
        server.stop()


@pytest.fixture
def ask(server):
    with serving(ApiDoor(GateSettings(RUN, api_socket=str(server.path)))) as port:

        def ask(path, *fields, method="POST", body=b"", end=True):
            fields = fields or (AUTHORIZATION,)
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *fields]
            if end:
                lines.append(f"Content-Length: {len(body)}")
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
                return read_all(client)

        yield ask


def problem(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    document = json.loads(body)
    assert document["type"] == f"/problems/{document['error_code']}"
    assert document["status"] == status_of(answer)
    assert document["instance"]
    return document["status"], document["error_code"]


PATHS = [
    f"/runs/{RUN}/logs",
    f"/v1/runs/{RUN}/logs",
    f"/api/v1/runs/{RUN}/logs",
    f"/runs/{RUN}/tools/GMAIL_FETCH_EMAILS",
    f"/runs/{RUN}/composio-execute/GMAIL_FETCH_EMAILS",
    f"/runs/{RUN}/calls/hello-worker",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_runs_own_calls_are_forwarded(ask, server, path):
    answer = ask(path, AUTHORIZATION, "Content-Type: application/json", body=b'{"a": 1}')

    assert status_of(answer) == 204
    ((head, body),) = server.requests
    assert head.startswith(f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n")
    assert f"authorization: Bearer {TOKEN}\r\n" in head
    assert body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATHS[0]),
        ("DELETE", PATHS[0]),
        ("CONNECT", "example.com:443"),
        ("POST", f"http://127.0.0.1{PATHS[0]}"),
        ("POST", f"/runs/{OTHER}/logs"),
        ("POST", f"/runs/{RUN}"),
        ("POST", f"/runs/{RUN}/cancel"),
        ("POST", f"/runs/{RUN}/logs/"),
        ("POST", f"/runs/{RUN}/logs?x=1"),
        ("POST", f"/runs/{RUN}/logs#"),
        ("POST", f"/runs/{RUN}/tools/"),
        ("POST", f"/runs/{RUN}/tools/../../{OTHER}/logs"),
        ("POST", f"/runs/{RUN}/tools/%2e%2e"),
        ("POST", f"/runs/{RUN}/tools/.."),
        ("POST", f"//runs/{RUN}/logs"),
        ("POST", f"/api/runs/{RUN}/logs"),
        ("POST", "/workers/hello-worker/runs"),
        ("POST", "/workspace/import"),
    ],
)
def test_nothing_else_is(ask, server, method, path):
    assert problem(ask(path, method=method)) == (403, "forbidden")
    assert server.requests == []


@pytest.mark.parametrize(
    "field",
    ["X: y", "Authorization: Bearer fpt_x", "Authorization: Basic eDp5", "Authorization: Bearer",
     "Cookie: floom_session=x", "x-floom-secret: s"],
)  # fmt: skip
def test_only_a_run_token_is_a_credential(ask, server, field):
    assert problem(ask(PATHS[0], field)) == (401, "unauthenticated")
    assert server.requests == []


def test_only_a_few_fields_are_forwarded(ask, server):
    ask(
        PATHS[0], AUTHORIZATION, "Accept: text/x", "Prefer: wait=3", "Idempotency-Key: k",
        "Cookie: floom_session=x", "X-Floom-Secret: s", "X-Forwarded-For: 1.1.1.1", "Origin: null",
        "Connection: prefer", "Upgrade: h2c", "X-Request-Id: mine",
    )  # fmt: skip

    ((head, _),) = server.requests
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:-2]]
    assert names == [
        "host", "connection", "x-request-id", "authorization", "accept", "idempotency-key",
        "content-length",
    ]  # fmt: skip
    assert "x-request-id: mine" in head


def test_a_chunked_body_is_counted_and_sent_in_one_piece(ask, server):
    answer = ask(
        PATHS[0], AUTHORIZATION, "Transfer-Encoding: chunked", end=False,
        body=b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
    )  # fmt: skip

    assert status_of(answer) == 204
    assert server.requests[0][1] == b"abcde"


def test_a_body_over_the_cap_is_refused_declared_or_not(ask, server):
    big = b"x" * (MAX_BODY_BYTES + 1)
    chunked = (b"%x\r\n" % MAX_BODY_BYTES) + big[1:] + b"\r\n1\r\nx\r\n0\r\n\r\n"
    fields = (AUTHORIZATION, "Transfer-Encoding: chunked")

    assert status_of(ask(PATHS[0], body=big[1:])) == 204
    assert problem(ask(PATHS[0], body=big)) == (413, "payload_too_large")
    assert problem(ask(PATHS[0], *fields, end=False, body=chunked)) == (413, "payload_too_large")
    assert problem(ask(PATHS[0], AUTHORIZATION, "A: " + "x" * 70_000)) == (413, "payload_too_large")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (("Transfer-Encoding: chunked", "Content-Length: 3"), b"abc"),
        (("Transfer-Encoding: gzip",), b"abc"),
        (("Content-Length: 3", "Content-Length: 4"), b"abc"),
        (("Content-Length: +3",), b"abc"),
        (("Content-Length: 0x3",), b"abc"),
        (("Transfer-Encoding: chunked",), b"3\r\nabcd\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"-3\r\nabc\r\n0\r\n\r\n"),
        (("Bad Name: x",), b""),
        ((AUTHORIZATION,), b""),
        (("X-Request-Id: a", "X-Request-Id: b"), b""),
    ],
)
def test_a_body_whose_end_is_in_doubt_is_refused(ask, server, fields, body):
    answer = ask(PATHS[0], AUTHORIZATION, *fields, end=False, body=body)

    assert problem(answer) == (400, "malformed_request")
    assert server.requests == []


def test_a_body_that_is_waited_for_is_asked_for(ask, server):
    answer = ask(PATHS[0], AUTHORIZATION, "Expect: 100-continue", body=b"abc")

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204")


def test_while_the_server_is_down_the_answer_says_so_and_a_new_one_is_found(ask, server):
    server.stop()
    answer = ask(PATHS[0])
    assert problem(answer) == (503, "unavailable")
    assert b"retry-after: 1" in answer

    server.start()
    assert status_of(ask(PATHS[0])) == 204


def test_a_server_that_goes_before_it_answers(ask, server):
    server.answer = b""

    answer = ask(PATHS[0])

    assert problem(answer) == (503, "unavailable")
    assert b"may have been carried out" in answer


def test_a_large_answer_passes_whole(ask, server):
    body = os.urandom(3_000_000)
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + body

    assert ask(PATHS[0]).endswith(body)


def test_a_client_that_says_nothing_takes_one_place_only(server):
    door = ApiDoor(GateSettings(RUN, api_socket=str(server.path)))
    with (
        serving(door, max_connections=2) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20),
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        lines = [f"POST {PATHS[0]} HTTP/1.1", AUTHORIZATION, "Content-Length: 0", "", ""]
        client.sendall("\r\n".join(lines).encode())
        assert status_of(read_all(client)) == 204
