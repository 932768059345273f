"""The same-origin rule for changes that a browser sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from lib.web.hosts import host_name
from lib.web.problems import CrossOrigin

UNSAFE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OWN_SITES: Final = frozenset({b"same-origin", b"none"})  # none: typed in, a bookmark
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Origins:
    """Tells our own pages from other sites' pages.

    Args:
        public_url: Its origin counts as ours, whatever a proxy makes of `Host`.
            Where it is https, no http origin of its host does.
    """

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self._public = _normal(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")

    def check(self, headers: Mapping[bytes, bytes], scheme: str) -> None:
        """Check a change; a client that is not a browser sends neither header.

        Raises:
            CrossOrigin: `Sec-Fetch-Site` or `Origin` names another site.
        """
        site = headers.get(b"sec-fetch-site")
        if site is not None and site.strip().lower() not in _OWN_SITES:
            raise _refusal()
        origin = headers.get(b"origin")
        if origin is not None and not self._is_ours(origin, headers, scheme):
            raise _refusal()

    def _is_ours(self, origin: bytes, headers: Mapping[bytes, bytes], scheme: str) -> bool:
        if origin.strip() == b"null":
            # A page without a referrer sends it (Fetch, section 3.2): ours tell their
            # origin, but what stands before us may take that away. A sandboxed or
            # foreign page cannot claim same-origin.
            return headers.get(b"sec-fetch-site", b"").strip().lower() == b"same-origin"
        host = headers.get(b"host", b"").decode("latin-1")
        presented = _normal(origin.decode("latin-1"))
        if presented == self._public:
            return True
        return presented == _normal(f"{scheme}://{host}") and not self._is_downgraded(presented)

    def _is_downgraded(self, origin: str) -> bool:
        """Whether anybody on the way can have made a page of our host."""
        return (
            self._public.startswith("https:")
            and origin.startswith("http:")
            and _name_of(origin) == _name_of(self._public)
        )


def _name_of(origin: str) -> str:
    return host_name(origin.partition("://")[2].encode("latin-1", "replace"))


def _normal(origin: str) -> str:
    scheme, separator, host = origin.strip().lower().partition("://")
    return scheme + separator + host.removesuffix(_DEFAULT_PORTS.get(scheme, "\n"))


def _refusal() -> CrossOrigin:
    return CrossOrigin("Changes are taken only from this server's own pages.")
