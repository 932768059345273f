"""The `Host` rule: a browser reaches this server only by its own names.

A page of another site whose name is made to resolve to this machine (DNS
rebinding) would otherwise count as same-origin and, in open local mode, be
admin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from lib.web.problems import WrongHost

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
# RFC 9110, section 7.2: uri-host, then an optional port.
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?")
_MAX_KNOWN: Final = 64


class Hosts:
    """The names by which this server may be addressed; ports do not matter.

    Args:
        public_url: Its host is allowed.
        allowed_hosts: Further names, with or without a port.

    Raises:
        ValueError: one is not a host name.
    """

    def __init__(self, public_url: str, allowed_hosts: Iterable[str] = ()) -> None:
        own = urlsplit(public_url).netloc.rpartition("@")[2]
        self._names = _LOOPBACK | {_configured(host) for host in (own, *allowed_hosts)}
        self._known: set[bytes] = set()  # headers that passed, as they were sent

    def check(self, header: bytes | None) -> None:
        """Check the `Host` header of a request.

        Raises:
            WrongHost: it is absent, malformed or another server's.
        """
        if header in self._known:
            return
        if header is None or host_name(header) not in self._names:
            raise WrongHost(
                "Address this server by its public URL or as localhost, "
                "or add the name to FLOOM_ALLOWED_HOSTS."
            )
        if len(self._known) < _MAX_KNOWN:
            self._known.add(header)


def _configured(host: str) -> str:
    name = host_name(host.encode("ascii" if host.isascii() else "idna"))
    if not name:  # a malformed header is "" too, and must match nothing
        raise ValueError(f"{host!r} is not a host name")
    return name


def host_name(header: bytes) -> str:
    """Return the name in a `Host` header, without port and final dot; "" if it is malformed."""
    match = _HOST.fullmatch(header)
    return match[1].decode().lower().removesuffix(".") if match else ""
