"""SOCKS5, byte by byte (RFC 1928, RFC 1929)."""

import socket

import pytest

from tests.lib.sandbox.gate.internet import PUBLIC, PUBLIC_6, Internet
from tests.lib.sandbox.gate.running import proxying, read_all, upstream

HELLO = b"\x05\x01\x00"
BY_NAME = b"\x05\x01\x00\x03\x0fapi.example.com\x01\xbb"
OK = b"\x05\x00\x00\x01" + bytes(6)


def login(password, user=b"run"):
    return b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password


def code(answer):
    """Return the reply code behind the answer to the greeting."""
    assert answer[:2] == b"\x05\x00"
    assert len(answer) == 12
    return answer[3]


@pytest.fixture
def internet():
    internet = Internet()
    internet.name("api.example.com", [PUBLIC])
    internet.name("private.example", ["10.0.0.1"])
    return internet


def greet(connection):
    connection.sendall(b"hello")


def exactly(client, count):
    data = client.recv(count, socket.MSG_WAITALL)
    assert len(data) == count
    return data


@pytest.mark.parametrize(
    "request_bytes",
    [
        BY_NAME,
        b"\x05\x01\x00\x01" + socket.inet_pton(socket.AF_INET, PUBLIC) + b"\x01\xbb",
        b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, PUBLIC_6) + b"\x01\xbb",
        b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, f"::ffff:{PUBLIC}") + b"\x01\xbb",
    ],
    ids=["name", "IPv4", "IPv6", "IPv4 in IPv6"],
)
def test_a_tunnel_by_each_kind_of_address(internet, request_bytes):
    with upstream(greet) as port, proxying(internet, "*") as proxy, proxy.connect() as client:
        internet.serve(PUBLIC, 443, port)
        internet.serve(PUBLIC_6, 443, port)
        for byte in HELLO + request_bytes:
            client.sendall(bytes([byte]))

        assert exactly(client, 2) == b"\x05\x00"
        assert exactly(client, 10) == OK
        assert read_all(client) == b"hello"


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"\x05\x01\x00\x03\x0fprivate.example\x01\xbb", 2),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", 2),
        (b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb", 2),
        (b"\x05\x01\x00\x03\x03a b\x01\xbb", 2),
        (b"\x05\x01\x00\x03\x00\x01\xbb", 2),
        (b"\x05\x01\x00\x03\x0eno-such.exampl\x01\xbb", 4),
        (BY_NAME[:-2] + b"\x00\x50", 5),
        (BY_NAME[:-2] + b"\x00\x00", 2),
        (b"\x05\x02" + BY_NAME[2:], 7),
        (b"\x05\x03" + BY_NAME[2:], 7),
        (b"\x05\x01\x00\x02abcdef", 8),
    ],
)
def test_what_cannot_be_is_answered_with_its_code(internet, request_bytes, expected):
    with proxying(internet, "*") as proxy:
        assert code(proxy.ask(HELLO + request_bytes)) == expected


def test_a_refusal_is_told(internet):
    with proxying(internet) as proxy:
        assert code(proxy.ask(HELLO + BY_NAME)) == 2
        assert proxy.notices[0].startswith("egress refused: api.example.com:443 is not listed")
        assert internet.looked_up == []


def test_a_client_that_insists_on_a_password_may_have_any(internet):
    with upstream(greet) as port, proxying(internet, "*") as proxy:
        internet.serve(PUBLIC, 443, port)
        answer = proxy.ask(b"\x05\x01\x02" + login(b"x", b"") + BY_NAME)
        assert answer == b"\x05\x02\x01\x00" + OK + b"hello"


@pytest.mark.parametrize(
    "start", [b"\x04\x01\x01\xbb" + bytes(5), b"\x05\x00", b"\x05\x01\x00\x04"]
)
def test_other_versions_and_half_requests_are_closed(internet, start):
    with proxying(internet, "*") as proxy, proxy.connect() as client:
        client.sendall(start)
        client.shutdown(socket.SHUT_WR)
        read_all(client)
        assert internet.dialled == []
