"""Pages of a list: a limit and an opaque cursor.

A cursor names the last row of a page by its sort key, so the next page costs
the same at any depth.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from types import UnionType
from typing import Any, Final, TypeVar, get_args

from pydantic import Field
from pydantic_core import from_json, to_json

from lib.errors import FieldError, Invalid
from lib.web.models import RequestModel

MAX_CURSOR_CHARS: Final = 1024
_INT64: Final = range(-(2**63), 2**63)  # the widest integer a store takes

Scalar = str | int | float | bool | None
Key = TypeVar("Key", str, int)


class PageQuery(RequestModel):
    """Query of a paged list; lists subclass it with their filters."""

    limit: int = Field(default=50, ge=1, le=200, description="Rows on a page.")
    cursor: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CURSOR_CHARS,
        description="Where the page starts, as `x-next-cursor` gave it.",
    )

    def key(self, kind: type[Key]) -> Key | None:
        """Return the sort key that the page comes after; None: it is the first.

        Args:
            kind: Of the key, which is one value.

        Raises:
            Invalid: as `decode_cursor`.
        """
        return decode_cursor(self.cursor, (kind,))[0] if self.cursor else None


def encode_cursor(values: Sequence[Scalar]) -> str:
    """Return the opaque, URL-safe text of a sort key."""
    return base64.urlsafe_b64encode(to_json(list(values))).rstrip(b"=").decode()


def cursor_of(key: str | int | None) -> str | None:
    """Return the cursor of a page after the row with this sort key; None: there is no more."""
    return None if key is None else encode_cursor([key])


def decode_cursor(text: str, form: Sequence[type | UnionType]) -> list[Any]:
    """Return the sort key of a cursor.

    Args:
        text: What a caller sent.
        form: The type of each value, such as `(int, str)` or `(int | None, str)`.

    Raises:
        Invalid: it is not a cursor of this form; the pointer is `query:cursor`.
    """
    values = _read(text)
    if not isinstance(values, list) or len(values) != len(form):
        raise _invalid()
    if not all(_fits(value, kind) for value, kind in zip(values, form, strict=True)):
        raise _invalid()
    return values


def _read(text: str) -> Any:
    if len(text) > MAX_CURSOR_CHARS:
        raise _invalid()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return from_json(raw, allow_inf_nan=False)
    except (binascii.Error, ValueError) as ex:
        raise _invalid() from ex


def _fits(value: object, kind: type | UnionType) -> bool:
    if isinstance(value, bool):  # also an int, to Python
        return bool in (kind, *get_args(kind))
    if isinstance(value, int) and value not in _INT64:
        return False
    return isinstance(value, kind)


def _invalid() -> Invalid:
    detail = "Pass the cursor that the previous page gave, or none for the first page."
    return Invalid(detail, [FieldError("query:cursor", detail)])
