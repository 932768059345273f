"""The proxy through which the server's own network reaches the internet, if it has one.

It resolves names itself, so what a name leads to is its rule, not ours. Its
password stays here: who asks us never sees it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from lib.sandbox.gate import head as heads
from lib.sandbox.gate.allow_list import Target
from lib.sandbox.gate.connection import Closed, Connection, TooLong
from lib.sandbox.gate.head import BadHead
from lib.sandbox.gate.policy import Refused, parse_target

ANSWER_SECONDS: Final = 30.0  # it looks the name up and connects in that time
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """A proxy that speaks HTTP.

    Attributes:
        target: Where it is.
        fields: Header fields that each request to it needs: its password.
    """

    target: Target
    fields: tuple[tuple[str, str], ...] = field(repr=False)

    async def connect(self, connection: Connection, target: Target) -> None:
        """Have it make a tunnel of a connection to it.

        Raises:
            Refused: it does not connect there.
            OSError: it left, or kept us waiting.
        """
        fields = [("host", str(target)), *self.fields]
        await connection.send(heads.render_head(f"CONNECT {target} HTTP/1.1", fields))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await connection.read_until(heads.END, heads.MAX_HEAD_BYTES)
            status = heads.status_of(heads.parse_head(answer))
        except (BadHead, TooLong):
            raise Refused(target, "got an answer of the server's proxy that is not HTTP") from None
        except Closed:
            raise Refused(target, "is closed by the server's proxy without an answer") from None
        if not 200 <= status < 300:
            raise Refused(target, f"is not let through by the server's proxy, which says {status}")


class UpstreamProxies:
    """Which proxy leads where.

    Args:
        urls: As `HTTP_PROXY` and its like have them, by `http`, `https` and `all`;
            under `no` a list as `NO_PROXY` has it: names, with all below them.
    """

    def __init__(self, urls: Mapping[str, str] | None = None) -> None:
        self._urls = urls or {}

    def find(self, scheme: str, target: Target) -> UpstreamProxy | None:
        """Return the proxy to ask; None: connect directly.

        Args:
            scheme: `https` for a tunnel, `http` for a plain request.
            target: Where somebody wants to go.

        Raises:
            Refused: it needs a proxy of a kind that is not spoken here.
        """
        url = self._urls.get(scheme) or self._urls.get("all")
        if not url or _is_direct(target.host, self._urls.get("no", "")):
            return None
        try:
            return _parse(url)
        except ValueError:
            reason = f"needs the server's proxy for {scheme}, which is not an http:// address"
            raise Refused(target, reason) from None


def _parse(url: str) -> UpstreamProxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http":
        raise ValueError
    target = parse_target(parts.hostname or "", parts.port or _DEFAULT_PORT)
    return UpstreamProxy(target, tuple(_credential(parts)))


def _credential(parts: SplitResult) -> list[tuple[str, str]]:
    if parts.username is None:
        return []
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [("proxy-authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")]


def _is_direct(host: str, exceptions: str) -> bool:
    names = [each.strip().lstrip(".").lower() for each in exceptions.split(",")]
    return any(name == "*" or host == name or host.endswith(f".{name}") for name in names if name)
