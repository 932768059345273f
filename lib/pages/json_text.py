"""JSON for people: read without losing what was written, written to be read."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from lib.pages.unicode import is_unicode

_INDENT: Final = 2


class NotJson(ValueError):
    """The text is no JSON, or JSON that cannot be shown as it was meant."""


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        NotJson: the message says what is wrong, in words for the page. That is
            also so where a name occurs twice, as one of the two would vanish,
            and for NaN and Infinity, which JSON does not have.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
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


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")
