"""A mailbox: whose mail it is, as in a `From` header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FORMS: Final = "ada@example.org or Ada <ada@example.org>"

# What opens an encoded word, RFC 2047. The library decodes it where a header is set, and
# writes what comes out, line breaks included, as it is.
ENCODED_WORD: Final = "=?"

_LOCAL: Final = r'[^\s\x00-\x1f\x7f@<>()\[\],;:\\"]{1,64}'
_NAME: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
_LITERAL: Final = r"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]"  # RFC 5321, section 4.1.3
_ADDRESS: Final = rf"(?P<local>{_LOCAL})@(?P<domain>(?:{_NAME}\.)*{_NAME}|{_LITERAL})"
_BARE: Final = re.compile(_ADDRESS)
_NAMED: Final = re.compile(rf'"?(?P<name>[^\x00-\x1f\x7f<>"\\]{{0,100}}?)"? ?<{_ADDRESS}>')
_MAX_CHARACTERS: Final = 254  # RFC 5321, section 4.5.3.1.3: 256 with the angle brackets


class BadMailbox(ValueError):
    """The text is no mailbox; the message does not repeat it."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where mail is sent to, or comes from.

    Attributes:
        local: What is before the `@`.
        domain: What is after it, ASCII.
        name: Shown instead of the address; empty if none.
    """

    local: str
    domain: str
    name: str = ""

    @property
    def address(self) -> str:
        """The address alone."""
        return f"{self.local}@{self.domain}"


def parse_mailbox(text: str) -> Mailbox:
    """Read one mailbox; a list, a comment or a quoted local part is none.

    Raises:
        BadMailbox: it is of another form.
    """
    match = _BARE.fullmatch(text) or _NAMED.fullmatch(text)
    if match is None or ENCODED_WORD in text or not _is_encodable(text):
        raise BadMailbox(f"must look like {FORMS}")
    name = (match.groupdict().get("name") or "").strip()
    found = Mailbox(match["local"], match["domain"], name)
    if len(found.address) > _MAX_CHARACTERS:
        raise BadMailbox(f"must have {_MAX_CHARACTERS} characters or fewer")
    return found


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
