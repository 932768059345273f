"""The one way out: judge, dial what was pinned, say why not."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Protocol

from lib.sandbox.gate import policy
from lib.sandbox.gate.addresses import Address
from lib.sandbox.gate.allow_list import AllowList
from lib.sandbox.gate.connection import Connection
from lib.sandbox.gate.dial import dial_first
from lib.sandbox.gate.notices import Notices
from lib.sandbox.gate.policy import Policy, Refused, parse_target


class Network(policy.Network, Protocol):
    """What resolves, and what dials."""

    def dial(self, address: Address, port: int) -> Awaitable[socket.socket]:
        """Return a connection. Raises OSError."""
        ...


class Unreachable(Exception):
    """Nobody answered at any of the addresses."""


class Egress:
    """Opens connections for one run.

    Args:
        allow: What the manifest lists.
        notices: Told of each refusal, so that the worker's author sees it.
    """

    def __init__(self, allow: AllowList, network: Network, notices: Notices) -> None:
        self._policy = Policy(allow, network)
        self._network = network
        self._notices = notices

    async def open(self, host: str, port: int) -> Connection:
        """Return a connection to a host as it was asked for.

        Raises:
            BadTarget: there can be no such host or port.
            Refused: the run may not go there.
            Unresolved, Unreachable: it may, but there is no way now.
        """
        target = parse_target(host, port)
        try:
            addresses = await self._policy.pin(target)
        except Refused as refusal:
            self._notices.tell(f"egress refused: {refusal}")
            raise
        try:
            return Connection(await dial_first(addresses, target.port, self._network.dial))
        except OSError as error:
            reason = (
                "no answer in time"
                if isinstance(error, TimeoutError)
                else error.strerror or "no way there"
            )
            raise Unreachable(f"{target} could not be reached: {reason}") from error
