"""Where each output stands on the review page, and whether it can be edited there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lib.pages.json_text import NotJson
from lib.pages.review_view import ReviewField
from lib.pages.values import text_of

MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 64 * 1024
# A byte is up to three in a form, and the form's cap is 1 MiB.
MAX_EDITABLE_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Slot:
    """A field's place on the page.

    Attributes:
        key: Its name in the form and its id in the page. Not the output's name,
            which may be any text.
        field: What stands there.
        text: Its value as the form's text.
        fixed: Why it is shown and not edited; empty where it is an input.
    """

    key: str
    field: ReviewField
    text: str
    fixed: str

    @property
    def is_editable(self) -> bool:
        """Whether it is an input."""
        return not self.fixed


def slots(fields: Sequence[ReviewField]) -> Iterator[Slot]:
    """Yield the places of the fields that the page shows, the first MAX_FIELDS.

    The page and the reader of its form both go by this, so that they agree on
    what can have been edited.
    """
    left = MAX_EDITABLE_BYTES
    for number, field in enumerate(fields[:MAX_FIELDS]):
        slot = _slot(f"output-{number}", field, min(left, MAX_FIELD_BYTES))
        left -= _size(slot.text) if slot.is_editable else 0
        yield slot


def _slot(key: str, field: ReviewField, most_bytes: int) -> Slot:
    try:
        text = text_of(field)
    except NotJson as ex:
        return Slot(key, field, "", f"This value cannot be shown: {ex}.")
    return Slot(key, field, text, _why_fixed(field, _size(text), most_bytes))


def _why_fixed(field: ReviewField, size: int, most_bytes: int) -> str:
    if field.is_file:
        return "A file: it cannot be changed here."
    if field.is_masked:
        return "It holds a secret, shown as ***, and cannot be changed here."
    return "This is too long to be changed here." if size > most_bytes else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
