"""Which peers' forwarding headers count, and what they then say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any


class TrustedProxies:
    """The networks of proxies that stand before this server.

    Args:
        cidrs: Networks such as `10.0.0.0/8`; none by default, so that nobody
            can claim another address or a TLS connection.

    Raises:
        ValueError: one is not a network.
    """

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(cidr, strict=False) for cidr in cidrs)

    def scheme(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """Return `http` or `https` as the client used it."""
        seen: str = scope.get("scheme", "http")
        if not self._networks or not self._trusts(_peer(scope)):
            return seen
        forwarded = headers.get(b"x-forwarded-proto", b"").split(b",")[-1].strip().lower()
        return forwarded.decode() if forwarded in {b"http", b"https"} else seen

    def client(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """Return the client's address: the nearest one that is no proxy of ours."""
        nearest = _peer(scope)
        if not self._networks:
            return nearest
        chain = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for hop in reversed(chain):
            if not self._trusts(nearest) or _address(hop.strip()) is None:
                break
            nearest = hop.strip()
        return nearest

    def _trusts(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def _peer(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return str(next(iter(client))) if client else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
