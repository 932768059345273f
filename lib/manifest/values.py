"""Values of inputs: what each type takes, and what is said otherwise.

Text types take text only; integer, number and boolean also their exact
strings; json takes anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from lib.manifest.inputs import TEXT_TYPES, Bounds, ValueSpec
from lib.manifest.report import show

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?\Z")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s.]+\Z")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
# RFC 3339, section 5.6, in capitals; without seconds, too, and without an offset, as forms send it.
_DATETIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[-+]\d\d:\d\d)?\Z", re.ASCII
)


class ValueMismatch(ValueError):
    """A value that an input does not take; the message completes "`name` ..."."""


def coerce(spec: ValueSpec, value: Any) -> Any:
    """Return `value` as the type of a scalar input.

    For a file only the kind of value is checked: text, a path or an upload's
    id, which the caller resolves.

    Raises:
        ValueMismatch: the input does not take this value.
    """
    if spec.is_file:
        return _text(value)
    coerced = _COERCE[spec.type](value)
    if spec.enum and not _is_one_of(coerced, spec.enum):
        allowed = ", ".join(show(choice) for choice in spec.enum[:20])
        raise ValueMismatch(f"must be one of {allowed}; it is {show(value)}")
    if spec.type in TEXT_TYPES:
        _check_length(coerced, spec.bounds)
    elif spec.type in {"number", "integer"}:
        _check_range(coerced, spec.bounds)
    return coerced


def _is_one_of(value: Any, choices: tuple[Any, ...]) -> bool:
    """Compare as JSON does: true is not 1."""
    return any(
        value == choice and isinstance(value, bool) == isinstance(choice, bool)
        for choice in choices
    )


def _check_length(text: str, bounds: Bounds) -> None:
    if bounds.min_length is not None and len(text) < bounds.min_length:
        raise ValueMismatch(f"must have at least {bounds.min_length:,} characters")
    if bounds.max_length is not None and len(text) > bounds.max_length:
        raise ValueMismatch(f"must have at most {bounds.max_length:,} characters")


def _check_range(number: float, bounds: Bounds) -> None:
    if bounds.minimum is not None and number < bounds.minimum:
        raise ValueMismatch(f"must be at least {bounds.minimum:g}; it is {show(number)}")
    if bounds.maximum is not None and number > bounds.maximum:
        raise ValueMismatch(f"must be at most {bounds.maximum:g}; it is {show(number)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueMismatch(f"must be text; it is {show(value)}")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.match(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # JSON has one kind of number: 3.0 is 3
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueMismatch(f"must be a whole number; it is {show(value)}")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, str) and _NUMBER.match(value):
        value = int(value) if _INTEGER.match(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueMismatch(f"must be a number; it is {show(value)}")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        is_finite = False
    if not is_finite:
        raise ValueMismatch("must be a finite number")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    raise ValueMismatch(f"must be true or false; it is {show(value)}")


def _choice(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    raise ValueMismatch(f"must be one of the options; it is {show(value)}")


def _url(value: Any) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or re.search(r"\s", text):
        raise ValueMismatch(f"must be an address such as https://example.com; it is {show(value)}")
    return text


def _email(value: Any) -> str:
    text = _text(value)
    if not _EMAIL.match(text):
        raise ValueMismatch(f"must be an e-mail address; it is {show(value)}")
    return text


def _date(value: Any) -> str:
    text = _text(value)
    try:
        if _DATE.match(text):
            date.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise ValueMismatch(f"must be a date such as 2026-01-31; it is {show(value)}")


def _datetime(value: Any) -> str:
    text = _text(value)
    try:
        if _DATETIME.match(text):
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise ValueMismatch(f"must be a time such as 2026-01-31T09:00:00Z; it is {show(value)}")


def _anything(value: Any) -> Any:
    return value


_COERCE: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(TEXT_TYPES, _text),
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "select": _choice,
    "url": _url,
    "email": _email,
    "date": _date,
    "datetime": _datetime,
    "json": _anything,
}
