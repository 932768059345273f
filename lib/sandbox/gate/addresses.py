"""Which addresses are public: the only ones that are reached without being named.

The tables are those of the IANA special-purpose address registries (RFC 6890),
written out because `ipaddress.is_global` means something else in each version
of Python and holds the tunnels of IPv6 for global. The one table for runs and
installers.

Not in it are the ranges for documentation (RFC 5737; RFC 3849): they are nobody's
network, so there is nothing behind them to guard, and some resolvers hand them
out for public names, as addresses of their network's way out.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host: connecting to it reaches loopback
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is in it
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host agent, from any virtual machine
            "169.254.0.0/16",  # link-local: metadata on most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # IETF protocols; Oracle's metadata is in it
            "192.88.99.0/24",  # relays of 6to4, RFC 7526
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# All that has been given out. Outside are loopback, unique local (fc00::/7, with
# fd00:ec2::254), link-local, multicast, and IPv4 in its mapped, compatible and
# locally translated forms.
_UNICAST: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocols; Teredo, which carries IPv4, is in it
            "2002::/16",  # 6to4 carries IPv4
            "3fff::/20",  # documentation since RFC 9637; no resolver answers with it
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052; how hosts without IPv4 reach it


def parse_address(text: str) -> Address | None:
    """Return the address that a text spells, None if it is a name.

    IPv4 written as IPv6 (`::ffff:10.0.0.1`) is IPv4: that is where it leads.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return canonical(address)


def canonical(address: Address) -> Address:
    """Return IPv4 for an address that is IPv4 mapped into IPv6."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public(address: Address) -> bool:
    """Return whether anybody on the internet could own this address."""
    address = canonical(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST and not any(address in network for network in _NOT_PUBLIC_6)
