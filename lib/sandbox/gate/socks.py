"""SOCKS version 5 (RFC 1928) with user name and password (RFC 1929); CONNECT only."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from lib.sandbox.gate.connection import Connection

VERSION: Final = 5

SUCCEEDED: Final = 0
NOT_ALLOWED: Final = 2
HOST_UNREACHABLE: Final = 4
CONNECTION_REFUSED: Final = 5
COMMAND_NOT_SUPPORTED: Final = 7
ADDRESS_NOT_SUPPORTED: Final = 8

_NO_CREDENTIAL: Final = 0
_PASSWORD: Final = 2
_NO_METHOD: Final = 0xFF
_PASSWORD_VERSION: Final = 1
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES: Final = {_IPV4: 4, _IPV6: 16}


class SocksError(Exception):
    """The client is owed this last answer.

    Attributes:
        answer: Bytes to send before closing; may be empty.
    """

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__("SOCKS refused")
        self.answer = answer


def reply(code: int) -> bytes:
    """Return the answer to a request; the bound address is of no use to anybody."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


async def read_request(client: Connection) -> tuple[str, int]:
    """Go through greeting and credential; return the host and port that are asked for.

    Args:
        client: Its first byte is there, and VERSION.

    Raises:
        SocksError: the client speaks otherwise, or may not.
        Closed: it left.
    """
    version, count = await client.read_exactly(2)
    if version != VERSION:
        raise SocksError
    methods = await client.read_exactly(count)
    await _authenticate(client, methods)
    version, command, _, kind = await client.read_exactly(4)
    if version != VERSION:
        raise SocksError
    host = await _read_host(client, kind)
    port = int.from_bytes(await client.read_exactly(2), "big")
    if command != _CONNECT:
        raise SocksError(reply(COMMAND_NOT_SUPPORTED))
    return host, port


async def _authenticate(client: Connection, methods: bytes) -> None:
    """Let anybody in who got here; who insists on a password may have any."""
    if _NO_CREDENTIAL in methods:
        await client.send(bytes((VERSION, _NO_CREDENTIAL)))
        return
    if _PASSWORD not in methods:
        raise SocksError(bytes((VERSION, _NO_METHOD)))
    await client.send(bytes((VERSION, _PASSWORD)))
    version, length = await client.read_exactly(2)
    await client.read_exactly(length)  # the user's name says nothing
    await client.read_exactly((await client.read_exactly(1))[0])
    if version != _PASSWORD_VERSION:
        raise SocksError
    await client.send(bytes((_PASSWORD_VERSION, 0)))


async def _read_host(client: Connection, kind: int) -> str:
    if kind == _NAME:
        length = (await client.read_exactly(1))[0]
        return (await client.read_exactly(length)).decode("latin-1")
    if kind not in _ADDRESS_BYTES:
        raise SocksError(reply(ADDRESS_NOT_SUPPORTED))
    return str(ip_address(await client.read_exactly(_ADDRESS_BYTES[kind])))
