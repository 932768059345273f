"""Where a git remote is, and how that may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

FORMS: Final = "https://host/path, ssh://host/path, user@host:path, git://host/path or file:///path"
_SCHEMES: Final = frozenset({"https", "http", "ssh", "git", "file"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SCP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-:\s][^\s]*\Z")
_HIDDEN: Final = "***"


class BadAddress(ValueError):
    """The text is no address of a remote that is taken."""


@dataclass(frozen=True, slots=True, repr=False)
class RemoteAddress:
    """An address that git can be given.

    Attributes:
        url: With the credentials that it may hold: for git alone.
        shown: Without them.
    """

    url: str
    shown: str

    def __repr__(self) -> str:
        return f"RemoteAddress({self.shown!r})"

    def redact(self, text: str) -> str:
        """Return a text with every credential of the address replaced."""
        for secret in _secrets(self.url):
            text = text.replace(secret, _HIDDEN)
        return text


def parse_address(text: str) -> RemoteAddress:
    """Read an address.

    Raises:
        BadAddress: it is of another form; the message does not repeat it.
    """
    if _SCP.match(text):
        return RemoteAddress(text, text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise BadAddress(f"must look like {FORMS}") from None
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment or _is_odd(text):
        raise BadAddress(f"must look like {FORMS}")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise BadAddress("a file:// address needs an absolute path, such as file:///srv/ws.git")
    elif not host or host.startswith("-") or not parts.path.strip("/"):
        raise BadAddress(f"must look like {FORMS}")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise BadAddress("http:// sends passwords and work in the clear; use https://")
    netloc = parts.netloc.rpartition("@")[2]
    user = f"{_HIDDEN}@" if "@" in parts.netloc and parts.scheme != "ssh" else ""
    if parts.scheme == "ssh" and "@" in parts.netloc:
        user = f"{parts.username or ''}@"
    return RemoteAddress(text, urlunsplit((parts.scheme, user + netloc, parts.path, "", "")))


def _is_odd(text: str) -> bool:
    return text != text.strip() or any(ord(each) < 33 or ord(each) == 127 for each in text)


def _secrets(url: str) -> list[str]:
    """Return what of a URL must not be shown, as it stands and as git writes it."""
    userinfo = urlsplit(url).netloc.rpartition("@")[0] if "://" in url else ""
    is_ssh = url.startswith("ssh:")
    parts = userinfo.split(":", 1)[1:] if is_ssh else [userinfo, *userinfo.split(":", 1)]
    found = {each for part in parts if part for each in (part, quote(part))}
    return sorted(found, key=len, reverse=True)  # the longest first: one may hold another
