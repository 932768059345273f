"""Hostile bytes never crash the proxy, and never reach what the policy denies."""

import asyncio
import contextlib
import socket
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sandbox.gate.addresses import is_public
from lib.sandbox.gate.allow_list import AllowList
from lib.sandbox.gate.connection import Connection
from lib.sandbox.gate.egress import Egress
from lib.sandbox.gate.head import BadHead, parse_head, render_head, request_of, status_of
from lib.sandbox.gate.notices import Notices
from lib.sandbox.gate.policy import Policy
from lib.sandbox.gate.proxy import ProxyDoor
from tests.lib.sandbox.gate.internet import PUBLIC, Internet

PIECES = st.sampled_from([
    b"CONNECT ", b"GET ", b"POST ", b"http://", b"https://", b"ok.example", b"bad.example",
    b"localhost", b"127.0.0.1", b"[::1]", b"[::ffff:127.0.0.1]", b"0x7f.1", b"2130706433", b"10.0.0.1",
    b"169.254.169.254", b":", b":80", b":443", b"/", b"?", b"#", b"@", b"%00", b"\x00", b" ", b"\t",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2\r\n", b"\r\n", b"\n", b"\r", b"Host: ok.example\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Proxy-Authorization: Basic eA==\r\n",
    b"Connection: host\r\n", b"\r\n\r\n", b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x05\x01\x00\x01",
    b"\x05\x01\x00\x03\x0aok.example\x01\xbb", b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x04", bytes(16), b"\x01\x01x\x01x", b"\xff",
])  # fmt: skip
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=12).map(b"".join)


class Loopback(Internet):
    """Every name there is; `bad.example` changes its mind."""

    async def resolve(self, host):
        self.looked_up.append(host)
        private = host != "ok.example" or len(self.looked_up) % 2
        return [ip_address("127.0.0.1" if private else PUBLIC)]


async def converse(door, data):
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, data)
        ours.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(10), Connection(theirs) as client:
            with contextlib.suppress(OSError):  # what `server` expects of a door
                await door.answer(client)


@settings(max_examples=400, deadline=None)
@given(STREAMS)
def test_no_bytes_crash_the_proxy_or_reach_a_private_address(data):
    internet = Loopback()
    door = ProxyDoor(Egress(Policy(AllowList(["*"]), internet), internet, Notices(None)))

    asyncio.run(converse(door, data))

    assert all(is_public(ip_address(address)) for address, _ in internet.dialled)


@given(st.binary(max_size=200))
def test_a_head_is_read_or_refused(data):
    try:
        head = parse_head(data)
        request_of(head)
    except BadHead:
        return
    assert parse_head(render_head(head.first, head.fields)[:-4]) == head


@given(st.binary(max_size=60))
def test_a_status_line_is_read_or_refused(data):
    with contextlib.suppress(BadHead):
        assert 100 <= status_of(parse_head(data)) <= 599
