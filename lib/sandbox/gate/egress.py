"""The one way out: judge, dial what was pinned, say why not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Iterator, Sequence
from typing import Protocol

from lib.sandbox.gate import policy
from lib.sandbox.gate.addresses import Address
from lib.sandbox.gate.allow_list import Target
from lib.sandbox.gate.connection import Connection
from lib.sandbox.gate.dial import dial_first
from lib.sandbox.gate.notices import Notices
from lib.sandbox.gate.policy import Policy, Refused, parse_target
from lib.sandbox.gate.upstream import UpstreamProxies, UpstreamProxy


class Network(policy.Network, Protocol):
    """What resolves, and what dials."""

    def dial(self, address: Address, port: int) -> Awaitable[socket.socket]:
        """Return a connection. Raises OSError."""
        ...


class Unreachable(Exception):
    """Nobody answered at any of the addresses."""


class Egress:
    """Opens connections for one run, or one installer.

    Args:
        policy: Where it may go.
        notices: Told of each refusal, so that the worker's author sees it.
        proxies: What the server's network asks to be used.
    """

    def __init__(
        self,
        policy: Policy,
        network: Network,
        notices: Notices,
        proxies: UpstreamProxies | None = None,
    ) -> None:
        self._policy = policy
        self._network = network
        self._notices = notices
        self._proxies = proxies or UpstreamProxies()

    async def open(self, host: str, port: int) -> Connection:
        """Return a connection to a host as it was asked for.

        Raises:
            BadTarget: there can be no such host or port.
            Refused: nobody here may go there.
            Unresolved, Unreachable: it is allowed, but there is no way now.
        """
        target = parse_target(host, port)
        with self._telling_refusals():
            connection, proxy = await self._connect("https", target)
            if proxy is not None:
                await _open_tunnel(connection, proxy, target)
        return connection

    async def open_plain(self, host: str, port: int) -> tuple[Connection, UpstreamProxy | None]:
        """Return a connection for one request of plain HTTP, and whom it leads to.

        A proxy wants the whole address in the request, and its fields; None is
        the host itself. Raises as `open`.
        """
        with self._telling_refusals():
            return await self._connect("http", parse_target(host, port))

    @contextlib.contextmanager
    def _telling_refusals(self) -> Iterator[None]:
        try:
            yield
        except Refused as refusal:
            self._notices.tell(f"egress refused: {refusal}")
            raise

    async def _connect(
        self, scheme: str, target: Target
    ) -> tuple[Connection, UpstreamProxy | None]:
        proxy = self._proxies.find(scheme, target)
        if proxy is None:
            return await self._dial(await self._policy.pin(target), target), None
        self._policy.check(target)
        addresses = await self._policy.resolve(proxy.target)
        return await self._dial(addresses, proxy.target), proxy

    async def _dial(self, addresses: Sequence[Address], target: Target) -> Connection:
        try:
            return Connection(await dial_first(addresses, target.port, self._network.dial))
        except OSError as error:
            raise _unreachable(target, error) from error


async def _open_tunnel(connection: Connection, proxy: UpstreamProxy, target: Target) -> None:
    try:
        await proxy.connect(connection, target)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            raise _unreachable(proxy.target, error) from error
        raise


def _unreachable(target: Target, error: OSError) -> Unreachable:
    is_late = isinstance(error, TimeoutError)
    reason = "no answer in time" if is_late else error.strerror or "no way there"
    return Unreachable(f"{target} could not be reached: {reason}")
