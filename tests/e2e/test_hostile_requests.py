"""Requests that no well-meant client sends: refused in the contract's form.

What the HTTP parser itself refuses is answered with a problem as well, on a
connection that closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess

CAP_BYTES = 256 * 1024
SECONDS = 20
HOST = b"Host: localhost\r\n"
JSON = HOST + b"Content-Type: application/json\r\n"
INPUTS = (
    "exec: {inputs: [{name: number, type: number}, {name: whole, type: integer},"
    " {name: anything, type: json}, {name: text, type: string}]}\n"
)


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> ServerProcess:
    shared_server.add_worker("typed", INPUTS, run_py="print('ran')")
    assert shared_server.reload()["errors"] == []
    return shared_server


@pytest.fixture(scope="module")
def run_id(server: ServerProcess) -> str:
    return str(server.run("text-report", text="Hello there.")["id"])


@pytest.fixture(autouse=True)
def _stays_well(server: ServerProcess) -> Iterator[None]:
    """After each test the server answers, and nothing failed unexpectedly."""
    before = server.errors.read_text().count("Traceback")
    yield
    assert server.client.get("/healthz").json()["status"] == "ok"
    assert server.errors.read_text().count("Traceback") == before


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["type"] == f"/problems/{problem['error_code']}"
        assert problem["instance"] == self.headers["x-request-id"]
        return str(problem["error_code"])


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer; an HTTP/1.1 client's reader judges its form."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    response.close()
    return Answer(response.status, headers, body)


def send(server: ServerProcess, *parts: bytes, method: str = "GET") -> Answer:
    """Send bytes as they are and read the answer."""
    with connect(server) as connection:
        for part in parts:
            connection.sendall(part)
        return read_answer(connection, method)


def post(server: ServerProcess, body: bytes, path: str = "/workers/typed/runs") -> Answer:
    """Post a JSON body of any bytes."""
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), JSON, len(body))
    return send(server, head + body)


def is_refused_by_the_parser(answer: Answer) -> bool:
    assert answer.code == "malformed_request"
    return answer.status in (400, 431) and answer.headers["connection"] == "close"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "DELETE", "PUT", "PATCH"])
def test_method_that_a_path_lacks_is_405_and_says_which_it_has(
    server: ServerProcess, method: str
) -> None:
    answer = send(server, method.encode() + b" /workers HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.status == 405
    assert answer.code == "method_not_allowed"
    assert "GET" in answer.headers["allow"]


def test_trace_echoes_nothing(server: ServerProcess) -> None:
    answer = send(server, b"TRACE /workers HTTP/1.1\r\n" + HOST + b"Cookie: a=treasure\r\n\r\n")
    assert b"treasure" not in answer.body


def test_options_lists_methods_and_grants_nothing(server: ServerProcess) -> None:
    answer = send(
        server,
        b"OPTIONS /workers/reload HTTP/1.1\r\n" + HOST,
        b"Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        method="OPTIONS",
    )
    assert "POST" in answer.headers["allow"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "line",
    [
        b"BREW /workers HTTP/1.1",
        b"get /workers HTTP/1.1",
        b"G@T /workers HTTP/1.1",
        b"GET /workers HTTP/9.9",
        b"GET",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"GET /workers/\xff\xfe HTTP/1.1",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1",
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: ServerProcess, line: bytes
) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(line + b"\r\n" + HOST + b"\r\n")
            assert is_refused_by_the_parser(read_answer(connection))
            assert connection.recv(1) == b""
        except ConnectionError:
            pass  # it may close while we still send


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Request-Id: a\r\n folded\r\n",
        b"X-Request-Id: a\x00b\r\n",
        b"X-Request-Id: a\rSet-Cookie: x=y\r\n",
        b"X-Request-Id : a\r\n",
        b": nameless\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
    ],
)
def test_headers_that_two_servers_could_read_differently_are_refused(
    server: ServerProcess, headers: bytes
) -> None:
    answer = send(server, b"POST /workers/typed/runs HTTP/1.1\r\n" + JSON + headers + b"\r\n{}")
    assert is_refused_by_the_parser(answer)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("value", [b"a b", b"a" * 129, b"<script>", b"a,b", "é".encode(), b""])
def test_request_id_that_is_not_fit_is_not_echoed(server: ServerProcess, value: bytes) -> None:
    answer = send(
        server, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Request-Id: " + value + b"\r\n\r\n"
    )
    assert answer.status == 200
    assert answer.headers["x-request-id"].encode("latin-1") != value


@pytest.mark.parametrize(
    "path",
    [
        "/runs/%0d%0aSet-Cookie:%20a=b",
        "/docs/%0d%0aSet-Cookie:%20a=b",
        "/problems/%0d%0aSet-Cookie:%20a=b",
        "/workers/%0d%0aSet-Cookie:%20a=b/runs",
        "/%0d%0aSet-Cookie:%20a=b",
        "/workers?cursor=%0d%0aSet-Cookie:%20a=b",
        "/workers?limit=1&q=%0d%0aSet-Cookie:%20a=b",
    ],
)
def test_no_header_can_be_smuggled_into_an_answer(server: ServerProcess, path: str) -> None:
    answer = send(server, f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    assert answer.status < 500
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host:\r\n",
        b"Host: evil.example\r\n",
        b"Host: localhost.evil.example\r\n",
        b"Host: localhost@evil.example\r\n",
        b"Host: localhost evil.example\r\n",
        b"Host: 127.0.0.2\r\n",
        b"Host: [::2]\r\n",
        b"Host: [\r\n",
        b"Host: localhost:99999999\r\n",
        b"Host: \xff\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/workers", b"/docs", b"/nowhere", b"/"])
def test_another_hosts_name_is_misdirected(server: ServerProcess, host: bytes, path: bytes) -> None:
    answer = send(server, b"GET " + path + b" HTTP/1.1\r\n" + host + b"\r\n")
    assert answer.status == 421
    assert answer.code == "wrong_host"


def test_a_session_in_the_first_of_two_cookie_headers_is_not_overlooked(
    server: ServerProcess,
) -> None:
    cookies = b"Cookie: floom_session=x\r\nCookie: a=b\r\n"
    answer = send(server, b"GET /workers HTTP/1.1\r\n" + HOST + cookies + b"\r\n")
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_http_1_0_needs_the_host_too_and_closes(server: ServerProcess) -> None:
    assert send(server, b"GET /workers HTTP/1.0\r\n\r\n").status == 421
    answer = send(server, b"GET /workers HTTP/1.0\r\n" + HOST + b"\r\n")
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert send(server, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200  # a load balancer's


@pytest.mark.parametrize(
    "sent",
    [
        b"Origin: https://evil.example\r\n",
        b"Origin: null\r\n",
        b"Origin: http://localhost.evil.example\r\n",
        b"Origin: http://localhost:1\r\n",
        b"Origin: https://localhost\r\n",
        b"Origin: \r\n",
        b"Sec-Fetch-Site: cross-site\r\n",
        b"Sec-Fetch-Site: same-site\r\n",
        b"Sec-Fetch-Site: same-origin, cross-site\r\n",
        b"Origin: http://localhost\r\nOrigin: https://evil.example\r\n",
    ],
)
def test_another_sites_page_cannot_reload(server: ServerProcess, sent: bytes) -> None:
    request = b"POST /workers/reload HTTP/1.1\r\n" + HOST + sent + b"Content-Length: 0\r\n\r\n"
    answer = send(server, request)
    assert answer.status == 403
    assert answer.code == "cross_origin"


def test_our_own_page_can_reload(server: ServerProcess) -> None:
    origin = f"Host: localhost:{server.port}\r\nOrigin: http://localhost:{server.port}\r\n"
    site = b"Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"
    assert send(server, b"POST /workers/reload HTTP/1.1\r\n", origin.encode(), site).status == 200


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0"])
def test_no_upgrade_is_taken(server: ServerProcess, protocol: bytes) -> None:
    answer = send(
        server,
        b"GET /workers HTTP/1.1\r\n" + HOST,
        b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    assert answer.status == 200
    assert json.loads(answer.body)


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    paths = [b"/healthz", b"/nowhere", b"/workers", b"/runs", b"/healthz"]
    with connect(server) as connection:
        connection.sendall(
            b"".join(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in paths)
        )
        file = connection.makefile("rb")
        statuses = []
        for _ in paths:
            statuses.append(int(file.readline().split()[1]))
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            file.read(length)
        file.close()
    assert statuses == [200, 404, 200, 200, 200]


def test_slow_bodies_hold_nobody_up(server: ServerProcess) -> None:
    connections = [connect(server) for _ in range(60)]
    try:
        for connection in connections:
            connection.sendall(b"POST /workers/typed/runs HTTP/1.1\r\n" + JSON)
            connection.sendall(b"Content-Length: 100\r\n\r\n{")
        begun = time.monotonic()
        assert server.run("typed")["status"] == "completed"
        assert time.monotonic() - begun < SECONDS
    finally:
        for connection in connections:
            connection.close()


def test_body_that_comes_byte_by_byte_is_read(server: ServerProcess) -> None:
    body = b'{"inputs": {"text": "slow"}}'
    head = b"POST /workers/typed/runs HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = [b"1\r\n%c\r\n" % byte for byte in body]
    assert send(server, head, *chunks, b"0\r\n\r\n").status == 202


def test_body_that_ends_early_starts_no_run(server: ServerProcess) -> None:
    def runs() -> list[str]:  # earlier tests' runs may just be going on
        listed = server.client.get("/runs", params={"worker_id": "typed"}).json()
        return [run["id"] for run in listed]

    before = runs()
    with connect(server) as connection:
        connection.sendall(b"POST /workers/typed/runs HTTP/1.1\r\n" + JSON)
        connection.sendall(b'Content-Length: 500\r\n\r\n{"inputs": {}}')
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1024)
    assert runs() == before


def test_body_over_the_cap_is_refused_however_it_is_sent(server: ServerProcess) -> None:
    head = b"POST /workers/typed/runs HTTP/1.1\r\n" + JSON
    declared = send(server, head, b"Content-Length: %d\r\n\r\n" % (CAP_BYTES + 1), b" " * 1000)
    assert declared.code == "payload_too_large"
    assert declared.status == 413
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    chunked = send(server, head, b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 9)
    assert chunked.code == "payload_too_large"
    exactly = b'{"inputs": {}}'.ljust(CAP_BYTES)
    assert post(server, exactly).status == 202


@pytest.mark.parametrize("path", [b"/workers/typed/runs", b"/workers/reload", b"/nowhere"])
def test_endless_body_is_answered_and_not_kept(server: ServerProcess, path: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    before = resident_bytes(server)
    with connect(server) as connection:
        flood = threading.Thread(target=send_until_closed, args=(connection, head, chunk))
        flood.start()
        answer = read_answer(connection)
        connection.shutdown(socket.SHUT_RDWR)
        flood.join()
    assert answer.code in ("payload_too_large", "route_not_found")
    assert resident_bytes(server) - before < 32 * 1024 * 1024


def send_until_closed(connection: socket.socket, head: bytes, chunk: bytes) -> None:
    """Send a head and up to 200 chunks, as long as the other side takes them."""
    with contextlib.suppress(OSError):
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(chunk)


def resident_bytes(server: ServerProcess) -> int:
    """Return the server's resident memory, in bytes."""
    assert server.process is not None
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 10_000, 400),
        (b'{"inputs":' * 10_000, 400),
        (b'{"inputs": {"anything": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}", 400),
        (b'{"inputs": {"anything": ' + b"[" * 250 + b"]" * 250 + b"}}", 400),
        (b'{"inputs": {}, "inputs": {}}', 400),
        (b'{"inputs": {"text": "a", "text": "b"}}', 400),
        (b'{"inputs": {"text": "a", "te\\u0078t": "b"}}', 400),
        (b'{"inputs": {"number": 1e400}}', 400),
        (b'{"inputs": {"number": NaN}}', 400),
        (b'{"inputs": {"number": Infinity}}', 400),
        (b'{"inputs": {"whole": ' + b"9" * 5_000 + b"}}", 400),
        (b'{"inputs": {"whole": 1e308}}', 422),
        (b'{"inputs": {"whole": "' + b"9" * 5_000 + b'"}}', 422),
        (b'{"inputs": {"number": "' + b"9" * 400 + b'"}}', 422),
        (b'{"priority": 99999999999999999999999999}', 422),
        (b'{"priority": 5.0}', 422),
        (b'{"priority": true}', 422),
        (b'{"inputs": {"text": "\\ud800"}}', 400),
        (b'{"inputs": {"text": "\xff"}}', 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"{} {}", 400),
        (b"{'inputs': {}}", 400),
        (b'{"inputs": {},}', 400),
        (b"// comment\n{}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"1", 422),
        (b'{"inputs": null}', 422),
        (b'{"inputs": []}', 422),
        (b'{"inputs": {"": 1}}', 422),
        (b'{"inputs": {"__proto__": {}}}', 422),
        (b'{"__class__": 1}', 422),
        (b'{"idempotency_key": ""}', 422),
        (b'{"idempotency_key": "\\u0000"}', 422),
    ],
)
def test_body_that_is_not_what_is_due_is_a_problem(
    server: ServerProcess, body: bytes, status: int
) -> None:
    answer = post(server, body)
    assert answer.status == status, answer.body
    assert answer.code == {400: "malformed_request", 422: "validation_failed"}[status]
    if status == 422:
        assert all(error["pointer"] is not None for error in json.loads(answer.body)["errors"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": {"text": "\\u0000\\u001b[31m\\r\\n"}}',
        b'{"inputs": {"whole": ' + b"9" * 400 + b"}}",
        b'{"inputs": {"anything": ' + b"9" * 400 + b"}}",
        b'{"inputs": {"anything": ' + b"[" * 150 + b"]" * 150 + b"}}",
        b'{"inputs": {"number": -0.0}}',
        b'{"inputs": {"number": 5e-324}}',
        '{"inputs": {"text": "\U0010ffff\u202e\ufeff"}}'.encode(),
    ],
)
def test_odd_values_come_back_as_they_went_in(server: ServerProcess, body: bytes) -> None:
    answer = post(server, body)
    assert answer.status == 202, answer.body
    run = server.finished(json.loads(answer.body)["id"])
    assert run["status"] == "completed"
    assert run["inputs"] == json.loads(body)["inputs"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
     "application/json; charset=utf-16", "application/jsonp", "*/*"],
)  # fmt: skip
def test_body_that_is_not_declared_as_json_is_refused(
    server: ServerProcess, content_type: str
) -> None:
    """A page of another site can send these without asking first."""
    head = b"POST /workers/typed/runs HTTP/1.1\r\n" + HOST
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    answer = send(server, head + kind.encode() + b"Content-Length: 2\r\n\r\n{}")
    assert answer.status == 415
    assert answer.code == "unsupported_media_type"


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fserver.json",
        "%2e%2e/%2e%2e/meta/exit.json",
        "%2e%2e%2f%2e%2e%2fmeta%2fexit.json",
        "../../../server.json",
        "..%5c..%5cserver.json",
        "..%c0%af..%c0%afserver.json",
        "%252e%252e%252fserver.json",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "report.md%00.png",
        "%00",
        "%ff%fe",
        ".",
        "..",
        "",
        "a" * 5_000,
    ],
)
def test_artifact_names_lead_nowhere_else(server: ServerProcess, run_id: str, name: str) -> None:
    request = f"GET /runs/{run_id}/artifacts/{name} HTTP/1.1\r\n".encode()
    answer = send(server, request + HOST + b"\r\n")
    assert answer.status == 404
    assert answer.code in ("artifact_not_found", "route_not_found")
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/runs?limit=" + "9" * 40,
        "/runs?limit=0",
        "/runs?limit=-1",
        "/runs?limit=1e2",
        "/runs?limit=1&limit=2",
        "/runs?cursor=W10",
        "/runs?cursor=WyJcdWQ4MDAiXQ",
        "/runs?cursor=" + "W" * 2_000,
        "/runs?since=1e300",
        "/runs?since=yesterday",
        "/runs?status=queued,great",
        "/runs?q=" + "a" * 201,
        "/runs?__proto__=1",
        "/runs?" + "&".join(f"a{n}=1" for n in range(6_000)),
        "/runs?" + "&" * 50_000 + "a",
        "/runs?" + "status=queued&" * 4_000 + "limit=0",
        "/workers?include_archived=maybe",
        "/workers?status=%00",
        "/healthz?verbose=1",
    ],
)
def test_query_that_is_not_known_is_refused_quickly(server: ServerProcess, path: str) -> None:
    begun = time.monotonic()
    answer = send(server, f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    assert answer.status == 422
    assert answer.code == "validation_failed"
    assert len(answer.body) < 32 * 1024
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "path",
    [
        "/runs?q=%00",
        "/runs?q=%25%25%25_%5C",
        "/runs?q=%ED%A0%80",
        "/runs?q=%F0%9F%92%A9",
        "/runs?q='%20OR%201=1--",
        "/runs?since=0001-01-01T00:00:00%2B14:00",
        "/runs?until=9999-12-31T23:59:59-14:00",
        "/runs?cursor=WyIiXQ",
        "/workers?q=%00",
        "/workers?q=" + "%25" * 200,
    ],
)
def test_odd_query_is_answered(server: ServerProcess, path: str) -> None:
    answer = send(server, f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    assert answer.status == 200
    assert isinstance(json.loads(answer.body), list)


@pytest.mark.parametrize(
    "value",
    ["", "0-0", "x", "-1--1", "9" * 400, "1-", "999999999999-999999999999999", "1-1, 2-2", "é"],
)
def test_any_last_event_id_is_answered(server: ServerProcess, run_id: str, value: str) -> None:
    request = f"GET /runs/{run_id}/events HTTP/1.1\r\nLast-Event-ID: {value}\r\n".encode()
    answer = send(server, request + HOST + b"Connection: close\r\n\r\n")
    assert answer.status == 200
    assert b"event: end\n" in answer.body


@pytest.mark.parametrize(
    "value", ["wait=-1", "wait=" + "9" * 400, "wait=1e3", "wait", "wait=;wait=", "respond-async"]
)
def test_odd_preferences_are_ignored(server: ServerProcess, value: str) -> None:
    head = f"POST /workers/typed/runs HTTP/1.1\r\nPrefer: {value}\r\n".encode() + JSON
    answer = send(server, head + b"Content-Length: 2\r\n\r\n{}")
    assert answer.status == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-0,2-3", 200),
        ("bytes=5-2", 200),
        ("bytes=-", 200),
        ("bytes=a-b", 200),
        ("items=0-1", 200),
        ("bytes=0-" + "9" * 17, 206),
        ("bytes=-" + "9" * 17, 206),
        ("bytes=" + "9" * 17 + "-", 416),
        ("bytes=-0", 416),
        ("bytes=0-" + "9" * 400, 200),
        ("bytes=" + ",".join(["0-"] * 2_000), 200),
    ],
)
def test_odd_ranges(server: ServerProcess, run_id: str, value: str, status: int) -> None:
    artifact: dict[str, Any] = server.get(run_id)["artifacts"][0]
    answer = server.client.get(artifact["url"], headers={"range": value})
    assert answer.status_code == status
    assert len(answer.content) <= artifact["size"] or status == 416


def test_upload_that_is_longer_than_announced_keeps_nothing(server: ServerProcess) -> None:
    announced = {"name": "a", "size": 3, "sha256": "0" * 64}
    url = server.client.post("/uploads", json=announced).json()["put_url"]
    path = url.removeprefix(server.url).encode()
    head = b"PUT " + path + b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = send(server, head, *[b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 4)
    assert answer.status == 413
    assert answer.code == "payload_too_large"
    server.until(
        lambda: {"left": [each.name for each in server.data.rglob("tmp*") if each.is_file()]},
        lambda seen: not seen["left"],
    )
