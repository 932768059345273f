"""The egress proxy over real sockets: what it lets through and what it answers."""

import socket
import struct
import threading

import pytest

from lib.sandbox.gate import head
from tests.lib.sandbox.gate.internet import PUBLIC, PUBLIC_6, PUBLIC_TOO, Internet
from tests.lib.sandbox.gate.running import proxying, read_all, read_head, status_of, upstream

API = "api.example.com"


def echo(connection):
    """Send back what comes until the other side ends, then say so."""
    data = read_all(connection)
    connection.sendall(data + b"|end")


def respond(connection):
    """Answer one request with its own head."""
    asked = read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(asked) + asked)


@pytest.fixture
def internet():
    internet = Internet()
    internet.name(API, [PUBLIC])
    internet.name("other.example", [PUBLIC_TOO])
    internet.name("private.example", ["127.0.0.1"])
    return internet


def tunnel(client, authority=f"{API}:443", *more):
    fields = "".join(f"{field}\r\n" for field in more)
    client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n".encode())
    return read_head(client)


def test_connect_carries_bytes_both_ways_and_honours_half_close(internet):
    with upstream(echo) as port, proxying(internet, API) as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)

        assert status_of(tunnel(client)) == 200
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)

        assert read_all(client) == b"x" * 100_000 + b"|end"


def test_bytes_sent_before_the_tunnel_stands_arrive(internet):
    with upstream(echo) as port, proxying(internet, API) as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)
        client.sendall(f"CONNECT {API}:443 HTTP/1.1\r\n\r\nearly".encode())
        client.shutdown(socket.SHUT_WR)

        assert read_all(client).endswith(b"\r\n\r\nearly|end")


def test_a_refusal_says_what_to_write_and_where(internet):
    with proxying(internet, API) as proxy:
        answer = proxy.ask(b"CONNECT other.example:443 HTTP/1.1\r\n\r\n").decode()

        status_line, _, _ = answer.partition("\r\n")
        assert status_line.startswith("HTTP/1.1 403 other.example:443 is not listed")
        assert "capabilities.network.egress; add other.example:443 to `allow`" in answer
        assert internet.looked_up == internet.dialled == []
        (notice,) = proxy.notices
        assert notice.startswith("egress refused: other.example:443 is not listed")


def test_a_private_address_behind_a_listed_name_is_refused(internet):
    with proxying(internet, "*") as proxy:
        answer = proxy.ask(b"CONNECT private.example:443 HTTP/1.1\r\n\r\n")

        assert status_of(answer) == 403
        assert b"leads to 127.0.0.1: not public" in answer
        assert internet.dialled == []


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
                                  "[::1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:0:a9fe:a9fe::]", "[fe80::1]", "[fd00::1]",
                                  "224.0.0.1", "0.0.0.0", "127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])  # fmt: skip
def test_private_networks_and_metadata_are_refused_and_told(internet, host):
    with proxying(internet, "*", trusted=["127.0.0.1:81", "localhost:81"]) as proxy:
        assert status_of(proxy.ask(f"CONNECT {host}:80 HTTP/1.1\r\n\r\n".encode())) == 403
        assert status_of(proxy.ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode())) == 403

        assert internet.dialled == []
        (notice,) = proxy.notices
        assert "not public" in notice


def test_what_was_judged_is_what_is_dialled(internet):
    internet.name("rebind.example", [PUBLIC], ["127.0.0.1"])
    with upstream(echo) as port, proxying(internet, "*") as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)

        assert status_of(tunnel(client, "rebind.example:443")) == 200
        assert internet.dialled == [(PUBLIC, 443)]
        again = proxy.ask(b"CONNECT rebind.example:443 HTTP/1.1\r\n\r\n")
        assert status_of(again) == 403
        assert internet.dialled == [(PUBLIC, 443)]


def test_the_next_address_is_tried_when_one_refuses_or_is_silent(internet):
    internet.name(API, [PUBLIC_6, "1.1.1.1", PUBLIC])
    internet.silence("1.1.1.1")
    with upstream(echo) as port, proxying(internet, API) as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)

        assert status_of(tunnel(client)) == 200
        assert internet.dialled == [(PUBLIC_6, 443), ("1.1.1.1", 443), (PUBLIC, 443)]


def test_no_answer_is_told_apart_from_a_refusal(internet):
    with proxying(internet, "*") as proxy:
        refused = proxy.ask(f"CONNECT {API}:443 HTTP/1.1\r\n\r\n".encode())
        unknown = proxy.ask(b"CONNECT nowhere.example:443 HTTP/1.1\r\n\r\n")

        assert (status_of(refused), status_of(unknown)) == (502, 502)
        assert b"api.example.com:443 could not be reached: Connection refused" in refused
        assert b"nowhere.example could not be resolved" in unknown
        assert proxy.notices == []


def test_plain_http_is_sent_on_in_origin_form(internet):
    with upstream(respond) as port, proxying(internet, f"{API}:80") as proxy:
        internet.serve(PUBLIC, 80, port)
        answer = proxy.ask(
            f"GET http://{API}/a?b=c HTTP/1.1\r\nHost: elsewhere\r\nX-Mine: 1\r\nX-Hop: 2\r\n"
            "Proxy-Connection: keep-alive\r\nConnection: keep-alive, x-hop\r\n"
            "Proxy-Authorization: Basic eDp5\r\nUpgrade: h2c\r\n\r\n".encode()
        )

        head_sent, _, asked = answer.partition(b"\r\n\r\n")
        assert asked.decode().lower().split("\r\n") == [
            "get /a?b=c http/1.1", "host: api.example.com", "connection: close", "x-mine: 1", "", ""
        ]  # fmt: skip
        assert b"connection: close" in head_sent.lower()


@pytest.mark.parametrize(
    ("target", "path"),
    [(f"http://{API}", "/"), (f"HTTP://{API.upper()}:80?q", "/?q"), (f"http://{API}:/x", "/x")],
)
def test_forms_of_an_absolute_target(internet, target, path):
    with upstream(respond) as port, proxying(internet, API) as proxy:
        internet.serve(PUBLIC, 80, port)
        answer = proxy.ask(f"GET {target} HTTP/1.1\r\n\r\n".encode())

        assert f"GET {path} HTTP/1.1".encode() in answer


def test_a_body_passes_in_either_direction_as_it_is_coded(internet):
    def serve(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    with upstream(serve) as port, proxying(internet, API) as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 80, port)
        client.sendall(
            f"POST http://{API}/ HTTP/1.1\r\nExpect: 100-continue\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert status_of(read_head(client)) == 100
        client.sendall(b"3\r\nabc\r\n0\r\n\r\n")
        answer = read_head(client).lower()
        assert b"transfer-encoding: chunked" in answer
        assert read_all(client) == b"3\r\nabc\r\n0\r\n\r\n"


def test_an_answer_that_is_not_http_is_no_answer(internet):
    def serve(connection):
        read_head(connection)
        connection.sendall(b"ICY 200 OK\r\n\r\nnoise")

    with upstream(serve) as port, proxying(internet, API) as proxy:
        internet.serve(PUBLIC, 80, port)

        assert status_of(proxy.ask(f"GET http://{API}/ HTTP/1.1\r\n\r\n".encode())) == 502


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1", "GET https://api.example.com/ HTTP/1.1", "CONNECT api.example.com HTTP/1.1",
        "CONNECT api.example.com:99999 HTTP/1.1", "CONNECT api.example.com:0 HTTP/1.1",
        "GET http://user:pw@api.example.com/ HTTP/1.1", "GET http:///x HTTP/1.1",
        "GET http://api.example.com:x/ HTTP/1.1", "GET http://[::1/ HTTP/1.1", "CONNECT [::1]443 HTTP/1.1",
        "CONNECT a b:443 HTTP/1.1", "CONNECT api.example.com:443 HTTP/2", "CONNECT", "\x16\x03\x01",
        "GET http://api.example.com/#x HTTP/1.1", "GET http://api.example.com/ HTTP/1.1\r\n folded: x",
        "GET http://api.example.com/ HTTP/1.1\r\nBad Name: x", "GET http://api.example.com/ HTTP/1.1\nA: b",
    ],
)  # fmt: skip
def test_what_is_no_request_to_a_proxy_is_answered_so(internet, request_head):
    with proxying(internet, "*") as proxy:
        answer = proxy.ask(request_head.encode("latin-1") + b"\r\n\r\n")

        assert status_of(answer) == 400
        assert internet.dialled == []


def test_a_huge_head_is_refused_once_it_is_over_the_cap(internet):
    with proxying(internet, "*") as proxy:
        line = b"X-Long: " + b"x" * (head.MAX_HEAD_BYTES + 1)
        assert status_of(proxy.ask(b"GET http://a.example/ HTTP/1.1\r\n" + line)) == 431
        many = b"A: b\r\n" * (head.MAX_FIELDS + 1)
        assert status_of(proxy.ask(b"GET http://a.example/ HTTP/1.1\r\n" + many + b"\r\n")) == 400


def test_an_upstream_that_breaks_off_breaks_the_client_off(internet):
    def serve(connection):
        connection.sendall(b"half")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with upstream(serve) as port, proxying(internet, API) as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)
        tunnel(client)
        assert client.recv(4) == b"half"
        client.sendall(b"x")

        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_client_that_goes_ends_its_tunnel(internet):
    ended = threading.Event()

    def serve(connection):
        read_all(connection)
        ended.set()

    with upstream(serve) as port, proxying(internet, API) as proxy:
        internet.serve(PUBLIC, 443, port)
        with proxy.connect() as client:
            tunnel(client)
        assert ended.wait(10)


def test_the_number_of_connections_is_bounded_and_the_rest_wait(internet):
    with (
        upstream(echo) as port,
        proxying(internet, API, max_connections=2) as proxy,
        proxy.connect() as first,
        proxy.connect() as second,
        proxy.connect() as third,
    ):
        internet.serve(PUBLIC, 443, port)
        tunnel(first)
        tunnel(second)
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            tunnel(third)
        assert len(internet.dialled) == 2
        third.settimeout(10)
        first.close()
        assert status_of(read_head(third)) == 200


def test_each_thing_is_told_once_and_not_more_than_so_many(internet):
    with proxying(internet) as proxy:
        for number in range(130):
            proxy.ask(f"CONNECT h{number // 2 * 2}.example:443 HTTP/1.1\r\n\r\n".encode())
        assert len(proxy.notices) == len(set(proxy.notices)) == 65
        for number in range(1000, 1100):
            proxy.ask(f"CONNECT h{number}.example:443 HTTP/1.1\r\n\r\n".encode())
        assert len(proxy.notices) == 101
        assert proxy.notices[-1] == "further refusals of the egress proxy are not shown"


def test_ten_thousand_tiny_connections_leave_nothing_behind(internet):
    # Were one of its few places lost to any of them, the last would wait in vain.
    with upstream(echo) as port, proxying(internet, API, max_connections=8) as proxy:
        internet.serve(PUBLIC, 443, port)
        for _ in range(5_000):
            proxy.connect().close()
        for _ in range(5_000):
            with proxy.connect() as client:
                client.sendall(b"CONNECT x.example:1 HTTP/1.1\r\n\r\n")
        with proxy.connect() as client:
            assert status_of(tunnel(client)) == 200
