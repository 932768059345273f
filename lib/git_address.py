"""Where a git remote is, and how that may be shown."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

FORMS: Final = (
    "https://host/path, ssh://host/path, user@host:path, git://host/path, file:///path or /path"
)
_SCHEMES: Final = frozenset({"https", "http", "ssh", "git", "file"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SCP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-:\s][^\s]*\Z")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")
_HIDDEN: Final = "***"


class BadAddress(ValueError):
    """The text is no address of a remote that is taken."""


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """An address that git can be given.

    Attributes:
        url: For git and for people: user and password of an http address are not in it.
        user: Of an http address, decoded; None without one.
        password: The same.
    """

    url: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def authorization(self) -> str | None:
        """Value of the HTTP header with user and password; None without both."""
        if self.user is None or self.password is None:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def redact(self, text: str) -> str:
        """Return a text with every credential of the address replaced, whoever wrote it there."""
        for secret in self._secrets():
            text = text.replace(secret, _HIDDEN)
        return text

    def _secrets(self) -> list[str]:
        header = self.authorization
        # a user alone may be a token
        found = [self.user] if self.password is None else [self.password]
        if header is not None:
            found.append(header.removeprefix("Basic "))
        forms = {form for each in found if each for form in (each, quote(each, safe=""))}
        return sorted(forms, key=len, reverse=True)  # the longest first: one may hold another


def parse_address(text: str) -> RemoteAddress:
    """Read an address.

    Raises:
        BadAddress: it is of another form; the message does not repeat it.
    """
    if _is_odd(text):
        raise BadAddress(f"must look like {FORMS}, without blanks")
    if _SCP.match(text) or text.startswith("/"):
        return RemoteAddress(text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise BadAddress(f"must look like {FORMS}") from None
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment:
        raise BadAddress(f"must look like {FORMS}")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise BadAddress("a file:// address needs an absolute path, such as file:///srv/ws.git")
        return RemoteAddress(text)
    if not host or host.startswith("-") or not parts.path.strip("/"):
        raise BadAddress(f"must look like {FORMS}")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise BadAddress("http:// sends passwords and work in the clear; use https://")
    return _of_http(parts) if parts.scheme.startswith("http") else _of_ssh_or_git(text, parts)


def _of_http(parts: SplitResult) -> RemoteAddress:
    """Take user and password out: git would hand them on for every process list to show."""
    host = parts.netloc.rpartition("@")[2]
    user = unquote(parts.username) if parts.username else None
    password = None if parts.password is None else unquote(parts.password)
    if _is_unsendable(user) or _is_unsendable(password):
        raise BadAddress("must have no control characters in user and password")
    if password is not None and user is None:
        raise BadAddress("must have a user before the password")
    return RemoteAddress(urlunsplit((parts.scheme, host, parts.path, "", "")), user, password)


def _of_ssh_or_git(text: str, parts: SplitResult) -> RemoteAddress:
    if parts.password is not None:
        raise BadAddress("must have no password: ssh takes keys, and git:// nothing")
    if "@" in parts.netloc and (parts.scheme == "git" or not _USER.match(parts.username or "")):
        raise BadAddress(f"must look like {FORMS}")
    return RemoteAddress(text)


def _is_odd(text: str) -> bool:
    return any(ord(each) < 33 or ord(each) == 127 for each in text)


def _is_unsendable(text: str | None) -> bool:
    return text is not None and any(ord(each) < 32 or ord(each) == 127 for each in text)
