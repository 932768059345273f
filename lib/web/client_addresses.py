"""Clients' addresses: as they are written down, and as what they are counted."""

from __future__ import annotations

import functools
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_BITS_OF_A_HOST: Final = 64  # of IPv6: whoever has one address has its whole /64, RFC 6177


@functools.lru_cache(maxsize=1024)
def canonical(address: str) -> str:
    """Return the one spelling of an address; an IPv4-mapped one is that of IPv4.

    What is no address comes back as it is, "" for a client that has none.
    """
    found = _parse(address)
    return address if found is None else str(found)


@functools.lru_cache(maxsize=1024)
def counted_as(address: str) -> str:
    """Return whom calls from an address are counted for: itself, or its /64 where it is IPv6."""
    found = _parse(address)
    if isinstance(found, IPv6Address):
        network = IPv6Address(int(found) >> _BITS_OF_A_HOST << _BITS_OF_A_HOST)
        return f"{network}/{_BITS_OF_A_HOST}"
    return address if found is None else str(found)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return found.ipv4_mapped or IPv6Address(int(found))  # without its zone, which may be any text
