"""Where a mail server is, and who may send by it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

FORMS: Final = "smtp://user:password@host:587, smtps://user:password@host or smtp://host"

_RELAY_PORT: Final = 25
_SUBMISSION_PORT: Final = 587  # RFC 6409: of servers that ask who is sending
_TLS_PORT: Final = 465  # RFC 8314, section 3.3
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:.]{2,45}")


class BadSmtpAddress(ValueError):
    """The text is no address of a mail server; the message does not repeat it."""


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """A mail server.

    Attributes:
        host: Name or address, without brackets.
        port: Of TCP.
        is_tls: Whether TLS begins at once; else by STARTTLS.
        user: Decoded, ASCII; None for a server that asks nobody.
        password: The same.
    """

    host: str
    port: int
    is_tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_smtp_address(text: str) -> SmtpAddress:
    """Read an address; reserved characters of user and password are percent-encoded.

    Raises:
        BadSmtpAddress: it is of another form.
    """
    parts, port = _split(text)
    if parts.scheme not in ("smtp", "smtps") or parts.path not in ("", "/"):
        raise BadSmtpAddress(f"must look like {FORMS}")
    if not _HOST.fullmatch(parts.hostname or ""):
        raise BadSmtpAddress(f"must name a host: {FORMS}")
    user, password = _credentials(parts)
    is_tls = parts.scheme == "smtps"
    default = _TLS_PORT if is_tls else _RELAY_PORT if user is None else _SUBMISSION_PORT
    return SmtpAddress(parts.hostname or "", port or default, is_tls, user, password)


def _split(text: str) -> tuple[SplitResult, int | None]:
    if any(ord(each) < 33 or ord(each) == 127 for each in text) or "?" in text or "#" in text:
        raise BadSmtpAddress(f"must look like {FORMS}, with %23 for # and %3F for ?")
    try:
        parts = urlsplit(text)
        return parts, parts.port  # one that is no port raises
    except ValueError:
        raise BadSmtpAddress(
            f"must look like {FORMS}, with %40, %2F and %3A for @, / and : in a password"
        ) from None


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    if parts.username is None:
        return None, None
    user, password = unquote(parts.username), unquote(parts.password or "")
    if not user or not password:
        raise BadSmtpAddress("must have both user and password, or neither")
    if not (user + password).isascii() or any(ord(each) < 32 for each in user + password):
        raise BadSmtpAddress("must have a user and a password of ASCII characters")
    return user, password
