"""Values of outputs as the texts of a form, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from lib.pages.json_text import NotJson, parse, pretty
from lib.pages.review_view import Choice, FieldKind, ReviewField
from lib.pages.unicode import unix_lines

MAX_CHARACTERS: Final = 128 * 1024
AS_PROPOSED: Final = "as-proposed"  # of a choice whose proposed value is none of them
YES: Final = "true"
NO: Final = "false"

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,300}")  # Python reads no more than 4,300 digits
_DIGITS: Final = r"(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})"
_NUMBER: Final = re.compile(rf"[+-]?{_DIGITS}(?:[eE][+-]?[0-9]{{1,4}})?")


class BadText(ValueError):
    """The text is no value of its field; the message is a sentence for the person."""


def text_of(field: ReviewField) -> str:
    """Return the proposed value as the form's text.

    Raises:
        NotJson: it is nested too deeply to be written.
    """
    if field.kind == "choice":
        return _choice_of(field)
    if isinstance(field.value, str) and field.kind in ("text", "file"):
        return field.value
    return pretty(field.value)


def value_of(field: ReviewField, text: str) -> Any:
    """Return the value that a person left in a field; unchanged, the proposed one itself.

    Line breaks count as one kind, as forms change them. A number that is
    written otherwise is the same number, and so is JSON.

    Raises:
        BadText: it is no value of this field.
    """
    normal = unix_lines(text)
    if normal == unix_lines(text_of(field)):
        return field.value
    if len(normal) > MAX_CHARACTERS:
        raise BadText(f"Shorten this to {MAX_CHARACTERS:,} characters; it has {len(normal):,}.")
    value = _chosen(field, normal) if field.kind == "choice" else _READERS[field.kind](normal)
    return field.value if _is_same(field.kind, value, field.value) else value


def options(field: ReviewField) -> list[tuple[str, str]]:
    """Return value and label of each option of a choice or a boolean, as the form has them."""
    if field.kind == "boolean":
        return [(YES, "Yes"), (NO, "No")]
    listed = [(str(at), each.label) for at, each in enumerate(field.choices)]
    if _choice_of(field) != AS_PROPOSED:
        return listed
    return [(AS_PROPOSED, f"{_shown(field.value)} (as proposed)"), *listed]


def _text(text: str) -> str:
    return text


def _integer(text: str) -> int:
    stripped = text.strip()
    if not _INTEGER.fullmatch(stripped):
        raise BadText("Write a whole number, such as 42.")
    return int(stripped)


def _number(text: str) -> int | float:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    value = float(stripped) if _NUMBER.fullmatch(stripped) else math.inf
    if not math.isfinite(value):
        raise BadText("Write a number, such as 42 or 0.5.")
    return value


def _boolean(text: str) -> bool:
    if text not in (YES, NO):
        raise BadText("Choose Yes or No.")
    return text == YES


def _json(text: str) -> Any:
    try:
        return parse(text)
    except NotJson as ex:
        raise BadText(f"This is not valid JSON: {ex}.") from None


def _file(_text: str) -> Any:
    raise BadText("A file cannot be changed here.")


_READERS: Final[Mapping[FieldKind, Callable[[str], Any]]] = MappingProxyType(
    {
        "text": _text,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "json": _json,
        "file": _file,
    }
)


def _chosen(field: ReviewField, text: str) -> Any:
    for at, choice in enumerate(field.choices):
        if text == str(at):
            return choice.value
    raise BadText("Choose one of the values.")


def _choice_of(field: ReviewField) -> str:
    for at, choice in enumerate(field.choices):
        if _is_proposed(choice, field):
            return str(at)
    return AS_PROPOSED


def _is_proposed(choice: Choice, field: ReviewField) -> bool:
    return _is_same("choice", choice.value, field.value)


def _is_same(kind: FieldKind, one: Any, other: Any) -> bool:
    if kind in ("integer", "number"):
        return bool(one == other)
    return _canonical(one) == _canonical(other)  # `==` takes 1 for true


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
