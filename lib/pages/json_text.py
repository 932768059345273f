"""JSON for people: read without losing what was written, written to be read."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from lib.pages.unicode import is_unicode

# Stored and shown a few levels down; the serialiser of our answers stops at 255.
MAX_DEPTH: Final = 190
_INDENT: Final = 2


class NotJson(ValueError):
    """The text is no JSON, or JSON that cannot be shown as it was meant."""


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        NotJson: the message says what is wrong, in words for the page. That is
            also so where a name occurs twice, as one of the two would vanish,
            for NaN and Infinity, which JSON does not have, for numbers that
            would become one, half a surrogate pair, and more than MAX_DEPTH levels.
    """
    value = _loaded(text)
    if _depth_exceeds(value, MAX_DEPTH):
        raise NotJson("it is nested too deeply")
    if "\\" in text and not is_unicode(json.dumps(value, ensure_ascii=False)):
        raise NotJson("it has half of a character")  # only an escape can bring one in
    return value


def _loaded(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite
        )
    except json.JSONDecodeError as ex:
        raise NotJson(f"{ex.msg} (line {ex.lineno}, column {ex.colno})") from None
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError:  # an integer of thousands of digits
        raise NotJson("a number has too many digits") from None


def pretty(value: Any) -> str:
    """Return indented JSON that is Unicode, whatever the value holds.

    Raises:
        NotJson: it is nested too deeply.
    """
    try:
        text = json.dumps(value, indent=_INDENT, ensure_ascii=False)
        return text if is_unicode(text) else json.dumps(value, indent=_INDENT)
    except RecursionError:
        raise NotJson("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise NotJson(f"the name {json.dumps(name)} occurs twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson("a number is too large")
    return number


def _depth_exceeds(value: Any, most: int) -> bool:
    """Return whether a value has more levels; level by level, not recursive."""
    level = [value]
    for _ in range(most + 1):
        level = [below for each in level for below in _members(each)]
        if not level:
            return False
    return True


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")
