"""Tunnels end when nothing moves, and hold no more than they must."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from lib.sandbox.gate.connection import READ_BYTES, Connection
from lib.sandbox.gate.dial import dial_first
from lib.sandbox.gate.relay import relay
from tests.lib.sandbox.gate.internet import PUBLIC, PUBLIC_TOO, Internet


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.settimeout(10)
    return near, far


@pytest.fixture
def ends():
    """A client and an upstream, each as (what it holds, what the gate holds)."""
    client, upstream = tcp_pair(), tcp_pair()
    yield client, upstream
    for each in (*client, *upstream):
        each.close()


def run_relay(ends, **options):
    async def main():
        (_, client), (_, upstream) = ends
        await relay(Connection(client), Connection(upstream), **options)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_silent_tunnel_is_broken_off(ends):
    run_relay(ends, idle_seconds=0.05)

    for near, _ in ends:
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_a_side_that_never_ends_is_waited_for_less_once_the_other_has(ends):
    (client, _), _ = ends
    client.shutdown(socket.SHUT_WR)

    run_relay(ends, half_closed_seconds=0.05)


def test_a_side_that_does_not_read_fills_no_memory(ends):
    (client, _), (_, _) = ends
    sent = 0

    async def main():
        nonlocal sent
        (_, near), (_, far) = ends
        task = asyncio.ensure_future(relay(Connection(near), Connection(far), idle_seconds=0.3))
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        while not task.done():
            writing = asyncio.ensure_future(loop.sock_sendall(client, bytes(READ_BYTES)))
            await asyncio.wait([writing, task], return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                writing.cancel()
            sent += READ_BYTES
        await asyncio.gather(task, writing, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 20))

    assert sent < 64 * 1024 * 1024  # what four kernel buffers hold, and no more


def dial(internet, *addresses, seconds=10.0):
    async def main():
        parsed = [ip_address(each) for each in addresses]
        return await dial_first(parsed, 443, internet.dial, seconds=seconds)

    return asyncio.run(main())


def test_dialling_ends_in_time():
    internet = Internet()
    internet.silence(PUBLIC)

    with pytest.raises(TimeoutError):
        dial(internet, PUBLIC, seconds=0.05)


def test_of_two_that_answer_the_first_is_taken_and_none_leaks():
    internet = Internet()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        internet.serve(PUBLIC, 443, listener.getsockname()[1])
        internet.serve(PUBLIC_TOO, 443, listener.getsockname()[1])
        internet.silence("1.1.1.1")

        dial(internet, "1.1.1.1", PUBLIC, PUBLIC_TOO).close()

    assert internet.dialled == [("1.1.1.1", 443), (PUBLIC, 443)]


def test_when_all_refuse_the_first_reason_is_given():
    with pytest.raises(ConnectionRefusedError):
        dial(Internet(), PUBLIC, PUBLIC_TOO)
