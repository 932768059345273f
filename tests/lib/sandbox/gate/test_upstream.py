"""The proxy of the server's own network, through which what is allowed may have to go."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from lib.sandbox.gate.policy import Refused, parse_target
from lib.sandbox.gate.upstream import UpstreamProxies
from tests.lib.sandbox.gate.internet import Internet
from tests.lib.sandbox.gate.running import proxying, read_all, read_head, status_of, upstream

AT = "10.9.9.9"
BASIC = b"proxy-authorization: Basic " + base64.b64encode(b"ada:top secret")
URL = "http://ada:top%20secret@proxy.corp:3128"


@contextlib.contextmanager
def network_proxy(
    internet: Internet, answer: bytes, after: Callable[[socket.socket], None] | None = None
) -> Iterator[list[bytes]]:
    """Run the network's proxy, which gives one answer; yield the heads that it gets."""
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(read_head(connection))
        connection.sendall(answer)
        if after is not None:
            after(connection)

    internet.name("proxy.corp", [AT])
    with upstream(serve) as port:
        internet.serve(AT, 3128, port)
        yield heard


def test_a_tunnel_through_it_carries_bytes_both_ways() -> None:
    internet = Internet()

    def echo(connection: socket.socket) -> None:
        connection.sendall(b"|" + read_all(connection))

    established = b"HTTP/1.1 200 Fine\r\nX: y\r\n\r\nfirst"
    with (
        network_proxy(internet, established, echo) as heard,
        proxying(internet, "*", proxies={"https": URL}) as proxy,
        proxy.connect() as client,
    ):
        client.sendall(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n")
        assert status_of(read_head(client)) == 200
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"first|hello"
    assert heard[0].startswith(b"CONNECT files.example:443 HTTP/1.1\r\n")
    assert BASIC in heard[0]
    assert internet.looked_up == ["proxy.corp"]


def test_a_plain_request_goes_to_it_with_the_whole_address() -> None:
    internet = Internet()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with (
        network_proxy(internet, answer) as heard,
        proxying(internet, "*", proxies={"http": URL}) as proxy,
    ):
        got = proxy.ask(
            b"GET http://index.example/simple/?a HTTP/1.1\r\nHost: other\r\n"
            b"Proxy-Authorization: Basic eDp5\r\n\r\n"
        )
    assert got.endswith(b"\r\n\r\nhi")
    lines = heard[0].split(b"\r\n")
    assert lines[0] == b"GET http://index.example/simple/?a HTTP/1.1"
    assert b"host: index.example" in lines
    assert [line for line in lines if line.startswith(b"proxy-authorization")] == [BASIC]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"HTTP/1.1 407 No\r\n\r\n", b"which says 407"), (b"SSH-2.0\r\n\r\n", b"not HTTP"),
     (b"", b"without an answer")],
)  # fmt: skip
def test_that_it_does_not_connect_is_said(answer: bytes, said: bytes) -> None:
    internet = Internet()
    with (
        network_proxy(internet, answer),
        proxying(internet, "*", proxies={"all": URL}) as proxy,
    ):
        got = proxy.ask(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n")
        assert status_of(got) == 403
        assert said in got
        assert b"secret" not in got
        assert len(proxy.notices) == 1


def test_a_proxy_that_is_down_is_a_bad_gateway() -> None:
    internet = Internet()
    internet.name("proxy.corp", [AT])
    with proxying(internet, "*", proxies={"all": URL}) as proxy:
        got = proxy.ask(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 502
    assert b"proxy.corp:3128 could not be reached" in got


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]"])
def test_it_is_not_asked_for_addresses_that_are_not_public(host: str) -> None:
    internet = Internet()
    with (
        network_proxy(internet, b"HTTP/1.1 200 Fine\r\n\r\n") as heard,
        proxying(internet, "*", proxies={"all": URL}) as proxy,
    ):
        assert status_of(proxy.ask(f"CONNECT {host}:80 HTTP/1.1\r\n\r\n".encode())) == 403
        assert status_of(proxy.ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode())) == 403
    assert heard == []


def test_it_is_not_asked_for_what_is_not_listed() -> None:
    internet = Internet()
    with proxying(internet, "a.example", proxies={"all": URL}) as proxy:
        assert status_of(proxy.ask(b"CONNECT b.example:443 HTTP/1.1\r\n\r\n")) == 403
    assert internet.looked_up == []


@pytest.mark.parametrize(
    ("exceptions", "is_direct"),
    [("", False), ("example.com", True), (".example.com", True), ("other, index.example.com", True),
     ("*", True), ("ample.com", False), ("index.example.com:443", False)],
)  # fmt: skip
def test_hosts_may_be_excepted(exceptions: str, is_direct: bool) -> None:
    proxies = UpstreamProxies({"all": "http://proxy.example:3128", "no": exceptions})

    found = proxies.find("https", parse_target("Index.Example.com", 443))

    assert (found is None) is is_direct


@pytest.mark.parametrize(
    "url", ["socks5://proxy.example", "https://proxy.example", "http://", "http://a:99999", "http://[x"]
)  # fmt: skip
def test_a_proxy_of_another_kind_is_refused_in_words(url: str) -> None:
    with pytest.raises(Refused, match="not an http:// address"):
        UpstreamProxies({"https": url}).find("https", parse_target("x", 443))


def test_a_bare_host_and_port_is_an_http_proxy() -> None:
    found = UpstreamProxies({"https": "proxy.example:3128"}).find("https", parse_target("x", 443))

    assert found is not None
    assert str(found.target) == "proxy.example:3128"
    assert "secret" not in repr(UpstreamProxies({"all": URL}).find("http", parse_target("x", 80)))
