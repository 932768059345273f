"""Pydantic's findings as pointers and plain sentences.

Only for parsing a request. A stored record that does not validate is our
failure, not the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lib.errors import FieldError, Invalid

MAX_ERRORS: Final = 100  # a hostile body must not become a larger answer

_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "This field is required.",
    "extra_forbidden": "There is no such field; remove it or correct its name.",
    "string_type": "Must be a string.",
    "string_unicode": "Must be valid Unicode.",
    "string_too_short": "Must have at least {min_length} characters.",
    "string_too_long": "Must have at most {max_length} characters.",
    "string_pattern_mismatch": "Must match {pattern}.",
    "int_type": "Must be a whole number.",
    "int_parsing": "Must be a whole number.",
    "int_parsing_size": "Must be a smaller whole number.",
    "int_from_float": "Must be a whole number.",
    "float_type": "Must be a number.",
    "float_parsing": "Must be a number.",
    "finite_number": "Must be a finite number.",
    "bool_type": "Must be true or false.",
    "bool_parsing": "Must be true or false.",
    "greater_than_equal": "Must be at least {ge}.",
    "greater_than": "Must be more than {gt}.",
    "less_than_equal": "Must be at most {le}.",
    "less_than": "Must be less than {lt}.",
    "literal_error": "Must be {expected}.",
    "enum": "Must be {expected}.",
    "list_type": "Must be a list.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "model_attributes_type": "Must be an object.",
    "union_tag_invalid": "Must be of a known kind: {expected_tags}.",
    "union_tag_not_found": "Must name its kind in {discriminator}.",
    "none_required": "Must be null.",
    "too_short": "Must have at least {min_length} entries.",
    "too_long": "Must have at most {max_length} entries.",
    "datetime_type": "Must be a time in RFC 3339, such as 2026-01-01T09:30:00.000Z.",
    "datetime_parsing": "Must be a time in RFC 3339, such as 2026-01-01T09:30:00.000Z.",
    "datetime_from_date_parsing": "Must be a time in RFC 3339, such as 2026-01-01T09:30:00.000Z.",
    "timezone_aware": "Must name its time zone, such as Z.",
    "recursion_loop": "Is nested too deeply.",
}


def invalid_body(error: ValidationError, body: Any) -> Invalid:
    """Return the 422 of a body, with a JSON Pointer for each finding."""
    found = [
        FieldError(_pointer(detail, body), sentence_of(detail)) for detail in _details_of(error)
    ]
    return _invalid(found, "The body has values that are not allowed; see errors.")


def invalid_query(error: ValidationError) -> Invalid:
    """Return the 422 of a query, with `query:name` for each finding."""
    found = [
        FieldError(f"query:{detail['loc'][0] if detail['loc'] else ''}", _query_sentence(detail))
        for detail in _details_of(error)
    ]
    return _invalid(found, "The query has parameters that are not allowed; see errors.")


def sentence_of(detail: ErrorDetails) -> str:
    """Return one finding in plain words; it never quotes the input."""
    template = _SENTENCES.get(detail["type"])
    if template is not None:
        return template.format(**detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.rstrip(".") + "."


def escape(token: str) -> str:
    """Return one reference token of a JSON Pointer (RFC 6901, section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def _details_of(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)[:MAX_ERRORS]


def _invalid(found: Sequence[FieldError], many: str) -> Invalid:
    unique = tuple(dict.fromkeys(found))
    return Invalid(unique[0].detail if len(unique) == 1 else many, unique)


def _query_sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "There is no such query parameter."
    if detail["type"] == "string_type":
        return "Must be given once."  # a repeated parameter is a list
    return sentence_of(detail)


def _pointer(detail: ErrorDetails, body: Any) -> str:
    """Return the pointer of a location.

    Locations also name branches of a union and validators; a step that the
    body does not have is one of those, unless it is the missing field itself.
    """
    steps, last = detail["loc"], len(detail["loc"]) - 1
    found, here = "", body
    for index, step in enumerate(steps):
        if _has(here, step):
            here = here[step]
        elif index != last or detail["type"] != "missing":
            continue
        found += "/" + escape(str(step))
    return found


def _has(container: Any, step: int | str) -> bool:
    if isinstance(container, dict):
        return step in container
    return isinstance(container, list) and isinstance(step, int) and step < len(container)
