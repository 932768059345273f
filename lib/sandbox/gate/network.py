"""The network as it is: names to addresses, addresses to connections."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - where look-ups run; asyncio would load it then
import contextlib
import socket
from ipaddress import ip_address
from typing import Final

from lib.sandbox.gate.addresses import Address, canonical

_DISCARD: Final = 9  # any port: connecting a datagram socket sends nothing


async def resolve(host: str) -> list[Address]:
    """Return a name's addresses in the order of preference (RFC 6724).

    Raises:
        OSError: there is no such name, or no answer.
    """
    # Bytes, so that Python does not apply its own rules for names (RFC 3490).
    found = await asyncio.get_running_loop().getaddrinfo(
        host.encode("ascii"), None, type=socket.SOCK_STREAM
    )
    texts = [str(address[0]).partition("%")[0] for *_, address in found]
    return list(dict.fromkeys(canonical(ip_address(text)) for text in texts))


def is_own(address: Address) -> bool:
    """Return whether an address is this host's: its firewall does not see us come.

    The kernel answers: the way to an own address starts at that address.
    """
    with _socket(address, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), _DISCARD))
        except OSError:
            return False  # no way there at all
        own = str(probe.getsockname()[0])
    return canonical(ip_address(own.partition("%")[0])) == address


async def dial(address: Address, port: int) -> socket.socket:
    """Return a connection, which does not block.

    Raises:
        OSError: refused, unreachable.
    """
    connection = _socket(address, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _socket(address: Address, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.socket(family, kind)
