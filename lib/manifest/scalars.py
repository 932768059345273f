"""What a plain YAML scalar means: YAML 1.2's core schema, held to JSON.

YAML 1.1, PyYAML's own reading, would turn the key `on` into `true`, `12:30`
into 750 and `2026-01-01` into a date. None of that is meant in a manifest.
"""

from __future__ import annotations

import math
import re
from typing import Final

_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_OTHER_BASE: Final = re.compile(r"0o[0-7]{1,21}\Z|0x[0-9a-fA-F]{1,16}\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_MAX_INTEGER: Final = 2**63 - 1  # what every store and every reader of JSON can hold
_MAX_NUMBER_LENGTH: Final = 64

Scalar = str | int | float | bool | None


def read_plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    A number that JSON cannot carry (not a number, infinite, beyond 64 bits)
    stays text, so that a text field takes it and a number field refuses it.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_NUMBER_LENGTH:
        return text
    number = _read_number(text)
    return text if number is None else number


def read_tagged(tag: str, text: str) -> Scalar:
    """Return the value of a scalar with an explicit tag such as `!!int`.

    Raises:
        ValueError: the tag is none of YAML's core tags, or does not fit.
    """
    name = tag.removeprefix("tag:yaml.org,2002:")
    if name in {"str", "!"}:
        return text
    value = read_plain(text)
    if name not in _TAGGED or not isinstance(value, _TAGGED[name]):
        raise ValueError(f"{tag} does not fit")
    return value


def _read_number(text: str) -> int | float | None:
    if _INTEGER.match(text):
        return _within_range(int(text))
    if _OTHER_BASE.match(text):
        return _within_range(int(text, 0))
    if _FLOAT.match(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return None


def _within_range(number: int) -> int | None:
    return number if abs(number) <= _MAX_INTEGER else None
