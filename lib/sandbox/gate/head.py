"""Heads of HTTP/1.1 messages, read strictly and written anew (RFC 9112).

What two readers could understand differently is refused: lines that end in a
bare line feed, folded lines, blanks around names, control characters. Texts
are Latin-1, so that each byte is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 200
END: Final = b"\r\n\r\n"

_REQUEST: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/1\.[01]")
_STATUS: Final = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")

# RFC 9110, section 7.6.1, and what older proxies use. Transfer-Encoding and
# Trailer are not among them here: bodies are passed on as they are coded.
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "upgrade"}
)  # fmt: skip


class BadHead(ValueError):
    """The head is not HTTP/1.1, or leaves room for interpretation."""


@dataclass(frozen=True, slots=True)
class Head:
    """A first line and fields, names in lower case, in their order."""

    first: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return the values of a field, one for each time that it was sent."""
        return [value for each, value in self.fields if each == name]

    def find(self, name: str) -> str | None:
        """Return a field's value; None when it is absent.

        Raises:
            BadHead: it was sent more than once.
        """
        values = self.values(name)
        if len(values) > 1:
            raise BadHead(f"there is more than one {name}")
        return values[0] if values else None

    def without(self, *names: str) -> Iterable[tuple[str, str]]:
        """Return the fields but these, and but those of this connection alone."""
        listed = {
            token.strip().lower()
            for value in self.values("connection")
            for token in value.split(",")
        }
        dropped: Collection[str] = HOP_BY_HOP | listed | set(names)
        return [field for field in self.fields if field[0] not in dropped]


def parse_head(data: bytes) -> Head:
    """Return the head that these bytes hold, without the empty line at its end.

    Raises:
        BadHead: see the module.
    """
    first, *lines = data.decode("latin-1").split("\r\n")
    if len(lines) > MAX_FIELDS:
        raise BadHead(f"there are more than {MAX_FIELDS} header fields")
    return Head(first, tuple(_field(line) for line in lines))


def request_of(head: Head) -> tuple[str, str]:
    """Return a request's method and target. Raises BadHead."""
    match = _REQUEST.fullmatch(head.first)
    if match is None:
        raise BadHead("the request line is malformed")
    return match[1], match[2]


def status_of(head: Head) -> int:
    """Return a response's status. Raises BadHead."""
    match = _STATUS.fullmatch(head.first)
    if match is None:
        raise BadHead("the status line is malformed")
    return int(match[1])


def render_head(first: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a head as it is sent, with the empty line."""
    lines = (first, *(f"{name}: {value}" for name, value in fields), "", "")
    return "\r\n".join(lines).encode("latin-1")


def render_answer(status: int, reason: str, body: bytes, content_type: str, **more: str) -> bytes:
    """Return a whole answer that ends its connection.

    Args:
        status: Three digits.
        reason: A phrase for people, in Latin-1 and without line ends.
        body: Sent as it is.
        content_type: Of the body.
        more: Further fields; `retry_after` is `retry-after`.
    """
    fields = {
        "content-type": content_type,
        "content-length": str(len(body)),
        "connection": "close",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return render_head(f"HTTP/1.1 {status} {reason}", fields.items()) + body


def _field(line: str) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadHead("a header field is malformed")
    return match[1].lower(), match[2]
