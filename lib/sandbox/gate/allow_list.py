"""The manifest's `capabilities.network.egress.allow`, as a question and its answer.

Each entry is one of these, with `:port` behind it for that port alone:

| Entry | Means |
|---|---|
| `api.example.com` | that name, at whatever public addresses it has |
| `*.example.com` | every name below it at any depth, not `example.com` itself |
| `*` | any name and any public address |
| `10.0.0.5`, `[fd00::5]` | that address, be it public or not |
| `localhost` | 127.0.0.1 and ::1 of the host |

Beside the manifest's list stands the operator's, which no manifest can add to: a
name in it is trusted, which is to say allowed wherever it leads.

"Named" is an address only when the list holds the address itself. A name that
leads to a private address does not name it: who owns the name's DNS could point
it at the metadata service tomorrow. `localhost` is in no DNS (RFC 6761).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from lib.sandbox.gate.addresses import Address, parse_address

LOCALHOST: Final = "localhost"
LOOPBACK: Final = (ip_address("127.0.0.1"), ip_address("::1"))
_ENTRY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a worker wants to go.

    Attributes:
        host: A name in lower case without the last dot, or an address's text.
        address: Set where the host is an address.
    """

    host: str
    port: int
    address: Address | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    port: int | None
    address: Address | None

    def covers(self, target: Target) -> bool:
        if self.port not in (None, target.port):
            return False
        if self.address is not None or target.address is not None:
            return self.host == "*" or self.address == target.address
        if self.host.startswith("*."):
            return target.host.endswith(self.host[1:]) and len(target.host) >= len(self.host)
        return self.host in ("*", target.host)

    def names(self, address: Address) -> bool:
        if self.host == LOCALHOST:
            return address in LOOPBACK
        return self.address == address


class AllowList:
    """Says which hosts and ports a manifest lists.

    Args:
        entries: As the manifest has them; one that cannot be read allows nothing.
        trusted: Entries of the same form that the server's operator wrote.
    """

    def __init__(self, entries: Iterable[str] = (), trusted: Iterable[str] = ()) -> None:
        self._entries = tuple(_parse_all(entries))
        self._trusted = tuple(_parse_all(trusted))

    def lists(self, target: Target) -> bool:
        """Return whether an entry of either list covers the target, wildcards included."""
        return self.trusts(target) or any(entry.covers(target) for entry in self._entries)

    def trusts(self, target: Target) -> bool:
        """Return whether the operator allows the target wherever it leads."""
        return any(entry.covers(target) for entry in self._trusted)

    def names(self, address: Address, port: int) -> bool:
        """Return whether the list holds this very address, so that it need not be public."""
        return any(entry.names(address) and entry.port in (None, port) for entry in self._entries)


def _parse_all(entries: Iterable[str]) -> Iterator[_Entry]:
    return (entry for entry in map(_parse, entries) if entry is not None)


def _parse(text: str) -> _Entry | None:
    match = _ENTRY.fullmatch(text.strip().lower())
    if match is None:
        return None
    host = match[1].strip("[]").removesuffix(".")
    return _Entry(host, int(match[2]) if match[2] else None, parse_address(host))
