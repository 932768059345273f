"""Decides where somebody may connect, and pins the addresses that it decided about.

A name is resolved once, here. What was judged is what is dialled: a second
look-up could give another answer (DNS rebinding). A name that is not listed is
not looked up at all, so that look-ups carry nothing out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Final, Protocol

from lib.sandbox.gate.addresses import Address, is_public, parse_address
from lib.sandbox.gate.allow_list import LOCALHOST, LOOPBACK, AllowList, Target
from lib.sandbox.gate.settings import MANIFEST_REMEDY

RESOLVE_SECONDS: Final = 10.0
MAX_ADDRESSES: Final = 8
# What may stand in a name on the wire; `xn--` names are ASCII by now.
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_MAX_PORT: Final = 65_535


class Network(Protocol):
    """What `lib.sandbox.gate.network` does; tests bring their own."""

    def resolve(self, host: str) -> Awaitable[list[Address]]:
        """Return a name's addresses. Raises OSError."""
        ...

    def is_own(self, address: Address) -> bool:
        """Return whether an address is this host's."""
        ...


class Refused(Exception):
    """Nobody here may connect there; the text is for the worker's author."""

    def __init__(self, target: Target, reason: str) -> None:
        super().__init__(f"{target} {reason}")


class Unresolved(Exception):
    """The name leads nowhere now."""


class BadTarget(ValueError):
    """What was asked for is no host and port."""


def parse_target(host: str, port: int) -> Target:
    """Return the target of a host as it stands in a request, and a port.

    Raises:
        BadTarget: one of them has a form that neither can have.
    """
    if not 0 < port <= _MAX_PORT:
        raise BadTarget(f"port {port} does not exist")
    address = parse_address(host.removeprefix("[").removesuffix("]"))
    if address is not None:
        return Target(str(address), port, address)
    if not _NAME.fullmatch(host):
        raise BadTarget("the host is neither a name nor an address")
    return Target(host.lower().removesuffix("."), port)


class Policy:
    """The allow list, judged against real addresses.

    Args:
        allow: What the manifest lists, and what the operator trusts.
        network: Resolves names, knows the host's own addresses.
        remedy: What to do about an address that is not public, for the refusal.
    """

    def __init__(self, allow: AllowList, network: Network, remedy: str = MANIFEST_REMEDY) -> None:
        self._allow = allow
        self._network = network
        self._remedy = remedy

    async def pin(self, target: Target) -> tuple[Address, ...]:
        """Return the addresses, at least one, that may be dialled for a target.

        Raises:
            Refused: there is none.
            Unresolved: no answer, or that there is no such name.
        """
        return self.check(target) or self._choose(target, await self.resolve(target))

    def check(self, target: Target) -> tuple[Address, ...]:
        """Judge what can be judged without a look-up.

        Returns:
            The addresses that may be dialled; none for a name that is listed
            and has to be looked up.

        Raises:
            Refused: it is not listed, or is an address that may not be dialled.
        """
        is_named = target.address is not None and self._allow.names(target.address, target.port)
        if not (is_named or self._allow.lists(target)):
            raise Refused(target, _NOT_LISTED.format(target=target))
        known = _known_addresses(target)
        return self._choose(target, known) if known else ()

    async def resolve(self, target: Target) -> tuple[Address, ...]:
        """Return a target's addresses, at least one, unjudged. Raises Unresolved."""
        if known := _known_addresses(target):
            return known
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._network.resolve(target.host)
        except (OSError, UnicodeError) as error:
            raise Unresolved(f"{target.host} could not be resolved") from error
        if not found:
            raise Unresolved(f"{target.host} has no address")
        return tuple(found[:MAX_ADDRESSES])

    def _choose(self, target: Target, found: tuple[Address, ...]) -> tuple[Address, ...]:
        """Return those that may be dialled. Raises Refused where that is none."""
        allowed = tuple(address for address in found if self._may_dial(address, target))
        if not allowed:
            addresses = ", ".join(map(str, found))
            raise Refused(target, f"leads to {addresses}: not public; {self._remedy}")
        return allowed

    def _may_dial(self, address: Address, target: Target) -> bool:
        if self._allow.trusts(target) or self._allow.names(address, target.port):
            return True
        return is_public(address) and not self._network.is_own(address)


_NOT_LISTED: Final = (
    "is not listed in the manifest's capabilities.network.egress; "
    "add {target} to `allow` if the worker needs it"
)


def _known_addresses(target: Target) -> tuple[Address, ...]:
    """Return the addresses that a target has without a look-up."""
    if target.address is not None:
        return (target.address,)
    return LOOPBACK if target.host == LOCALHOST else ()
