"""Values that can be read another way: `"300"` for 300, `yes` for true."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from lib.manifest.data import Seq
from lib.manifest.report import Place, Severity

_TRUE: Final = frozenset({"true", "yes", "on", "y", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "n", "0"})
_LONGEST_NUMBER: Final = 32
_MOST_EXACT: Final = 2**53  # beyond it a float stands for several whole numbers
_LISTS_OF_MAPS: Final = frozenset({"triggers", "entrypoints"})


@dataclass(frozen=True)
class Mended:
    """A value to put in place of one that does not hold.

    Attributes:
        advice: Completes "`path` ..."; None where the error itself says enough.
        severity: Whether something was lost by it.
    """

    value: Any
    advice: str | None
    severity: Severity = "warning"


def mend(error: ErrorDetails, value: Any, place: Place) -> Mended | None:
    """Return what can stand in place of `value`, or None."""
    mender = _MENDERS.get(error["type"])
    return mender(error, value, place) if mender else None


def _text(_: ErrorDetails, value: Any, place: Place) -> Mended | None:
    if isinstance(value, (bool, int, float)):
        text = place.text if place.text is not None else str(value)
        return Mended(text, "must be text; put it in quotes")
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return Mended("\n".join(value), "must be text, not a list; its items are read as lines")
    return None


def _number(error: ErrorDetails, value: Any, _: Place) -> Mended | None:
    number = _parse(value)
    if number is None:
        return None
    if error["type"] != "float_type":
        if not number.is_integer() or abs(number) > _MOST_EXACT:
            return None
        return Mended(int(number), "must be a whole number; write it without quotes or point")
    return Mended(number, "must be a number; write it without quotes")


def _parse(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _boolean(_: ErrorDetails, value: Any, place: Place) -> Mended | None:
    word = str(value).lower() if isinstance(value, (str, int)) else ""
    if word not in _TRUE | _FALSE:
        return None
    meant = word in _TRUE
    return Mended(meant, f"must be true or false; write `{place.key}: {str(meant).lower()}`")


def _list(_: ErrorDetails, value: Any, place: Place) -> Mended | None:
    if not isinstance(value, str) and not (isinstance(value, dict) and place.key in _LISTS_OF_MAPS):
        return None
    items = Seq(place)
    items.add(value, place)
    return Mended(items, "must be a list; write one item a line, each after `- `")


def _word(error: ErrorDetails, value: Any, _: Place) -> Mended | None:
    expected = error["ctx"]["expected"]
    for word in (value.lower(), value.upper()) if isinstance(value, str) else ():
        if f"'{word}'" in expected:
            return Mended(word, f'must be written "{word}"')
    return None


def _shorter_text(error: ErrorDetails, value: Any, _: Place) -> Mended | None:
    return Mended(value[: error["ctx"]["max_length"]], None, "error")


def _fewer_items(error: ErrorDetails, value: Any, place: Place) -> Mended | None:
    if not isinstance(value, Seq):
        return None
    items = Seq(place)
    limit = error["ctx"]["max_length"]
    for item, at in zip(value[:limit], value.places[:limit], strict=True):
        items.add(item, at)
    return Mended(items, None, "error")


_Mender = Callable[[ErrorDetails, Any, Place], Mended | None]
_MENDERS: Final[dict[str, _Mender]] = {
    "string_type": _text,
    "int_type": _number,
    "int_from_float": _number,
    "float_type": _number,
    "bool_type": _boolean,
    "tuple_type": _list,
    "literal_error": _word,
    "string_too_long": _shorter_text,
    "too_long": _fewer_items,
}
