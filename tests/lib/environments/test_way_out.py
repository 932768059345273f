"""The proxy that is a confined installer's only network."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lib.environments.way_out import MAX_HEAD_BYTES, Refused, Rules, WayOut

DEADLINE_SECONDS = 20


class Served:
    """A proxy on loopback, and what it said about refusals."""

    def __init__(self, rules: Rules) -> None:
        self.told: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        WayOut(self.listener, rules, self.told.append).start()

    def ask(self, *sent: bytes) -> bytes:
        """Send and return all that comes back."""
        with socket.create_connection(self.listener.getsockname(), DEADLINE_SECONDS) as client:
            for part in sent:
                client.sendall(part)
            return read_all(client)


def read_all(sock: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def proxy(**rules: object) -> Iterator[Served]:
    served = Served(Rules(**rules))  # type: ignore[arg-type]
    try:
        yield served
    finally:
        served.listener.shutdown(socket.SHUT_RDWR)
        served.listener.close()


@contextlib.contextmanager
def server(answer: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each connection's first words, and note them."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.settimeout(DEADLINE_SECONDS)
                        heard.append(client.recv(65536))
                        client.sendall(answer(heard[-1]))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_SECONDS)


def reply(_: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_tunnel_carries_bytes_both_ways() -> None:
    with (
        server(lambda data: b"echo " + data) as (port, _),
        proxy(hosts=(f"127.0.0.1:{port}",)) as served,
        socket.create_connection(served.listener.getsockname(), DEADLINE_SECONDS) as client,
    ):
        client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
        client.sendall(b"hello")
        assert read_all(client) == b"echo hello"


def test_bytes_behind_the_head_are_not_lost() -> None:
    with (
        server(lambda data: b"echo " + data) as (port, _),
        proxy(hosts=(f"127.0.0.1:{port}",)) as served,
    ):
        answer = served.ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello".encode())
        assert answer == b"HTTP/1.1 200 OK\r\n\r\necho hello"


def test_a_request_goes_on_in_its_own_form_and_closes() -> None:
    with server(reply) as (port, heard), proxy(hosts=(f"127.0.0.1:{port}",)) as served:
        answer = served.ask(
            f"GET http://127.0.0.1:{port}/a%20b?c=d HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nX: y\r\n\r\n".encode()
        )
        assert answer == reply(b"")
        lines = heard[0].split(b"\r\n")
        assert lines[0] == b"GET /a%20b?c=d HTTP/1.1"
        assert set(lines[1:]) == {
            f"Host: 127.0.0.1:{port}".encode(),
            b"X: y",
            b"Connection: close",
            b"",
        }


def test_a_head_in_pieces_is_put_together() -> None:
    with server(reply) as (port, _), proxy(hosts=(f"127.0.0.1:{port}",)) as served:
        assert served.ask(
            b"GET http://127.0.0.1", f":{port}/ HTTP/1.1\r\n".encode(), b"\r\n"
        ) == reply(b"")


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:{port}", "localhost:{port}", "[::ffff:127.0.0.1]:{port}", "0.0.0.0:{port}"],
)
def test_an_address_that_is_not_public_is_refused_and_told(target: str) -> None:
    with server(reply) as (port, heard), proxy(hosts=(f"127.0.0.1:{port + 1}",)) as served:
        answer = served.ask(f"CONNECT {target.format(port=port)} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"not a public address" in answer
        assert len(served.told) == 1
        assert heard == []


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
                                  "[::1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:0:a9fe:a9fe::]", "[fe80::1]", "[fd00::1]", "224.0.0.1", "0.0.0.0"])  # fmt: skip
def test_private_networks_and_metadata_are_refused(host: str) -> None:
    with proxy() as served:
        assert served.ask(f"CONNECT {host}:80 HTTP/1.1\r\n\r\n".encode()).startswith(
            b"HTTP/1.1 403"
        )
        assert served.ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode()).startswith(
            b"HTTP/1.1 403"
        )


def test_installers_of_ready_packages_may_go_anywhere() -> None:
    with server(reply) as (port, _), proxy(anywhere=True) as served:
        assert served.ask(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode()) == reply(b"")


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET ftp://x/ HTTP/1.1\r\n\r\n",
                 b"GET https://x/ HTTP/1.1\r\n\r\n", b"\xff\xff \xff \xff\r\n\r\n",
                 b"CONNECT x:99999 HTTP/1.1\r\n\r\n", b"X" * (MAX_HEAD_BYTES + 1)]
)  # fmt: skip
def test_what_is_no_request_for_a_proxy_is_refused(request_: bytes) -> None:
    with proxy(anywhere=True) as served:
        assert served.ask(request_).startswith((b"HTTP/1.1 403", b"HTTP/1.1 502")) or served.told


def test_nobody_there_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with proxy(anywhere=True) as served:
        assert served.ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode()).startswith(
            b"HTTP/1.1 502"
        )
        assert served.told == []


def test_the_network_s_own_proxy_gets_its_password_from_us() -> None:
    with server(lambda _: b"HTTP/1.1 200 OK\r\n\r\n") as (port, heard):
        url = f"http://ada:top%20secret@127.0.0.1:{port}"
        with proxy(proxies={"https": url, "http": url}) as served:
            served.ask(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n")
            served.ask(b"GET http://index.example/simple/ HTTP/1.1\r\nHost: index.example\r\n\r\n")
    basic = b"Proxy-Authorization: Basic " + base64.b64encode(b"ada:top secret")
    assert heard[0].startswith(b"CONNECT files.example:443 HTTP/1.1\r\n")
    assert heard[1].startswith(b"GET http://index.example/simple/ HTTP/1.1\r\n")
    assert all(basic in each for each in heard)


def test_a_proxy_that_refuses_is_said() -> None:
    with (
        server(lambda _: b"HTTP/1.1 407 No\r\n\r\n") as (port, _),
        proxy(proxies={"https": f"http://127.0.0.1:{port}"}) as served,
    ):
        answer = served.ask(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("exceptions", "is_direct"),
    [("", False), ("example.com", True), (".example.com", True), ("other,index.example.com", True),
     ("*", True), ("ample.com", False), ("index.example.com:443", False)],
)  # fmt: skip
def test_hosts_may_be_excepted_from_the_network_s_proxy(exceptions: str, is_direct: bool) -> None:
    rules = Rules(proxies={"all": "http://proxy.example:3128", "no": exceptions})
    assert (rules.proxy_for("https", "Index.Example.com") is None) is is_direct


def test_a_proxy_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(Refused, match="http://"):
        Rules(proxies={"https": "socks5://proxy.example"}).proxy_for("https", "x")
