"""Tells browsers from programs, by what only browsers send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_ONLY_BROWSERS: Final = frozenset(
    {b"origin", b"referer", b"accept-language", b"purpose", b"sec-purpose", b"x-moz", b"x-purpose"}
)
_PREFIXES: Final = (b"sec-fetch-", b"sec-ch-")
# Browsers call themselves Mozilla. What fetches a link that somebody pasted into a
# chat, to show a preview of it, is named a bot or a preview, or says where to read about it.
_AGENTS: Final = re.compile(rb"mozilla|bot(?![a-z])|preview|whatsapp|://")


def accepts_html(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a page is asked for; `*/*` alone is what programs send."""
    return b"text/html" in headers.get(b"accept", b"").lower()


def may_be_browser(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request may come from a browser, whatever page made it send it.

    Or from what looks at links for people, which must use up nothing either.

    A picture of another site's page is fetched without any of the newer headers
    where the server has no TLS: the languages and the name of the program remain.
    """
    if accepts_html(headers) or not _ONLY_BROWSERS.isdisjoint(headers):
        return True
    is_named = _AGENTS.search(headers.get(b"user-agent", b"").lower()) is not None
    return is_named or any(name.startswith(_PREFIXES) for name in headers)
