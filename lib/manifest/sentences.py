"""What pydantic finds, said to whoever edits the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import ErrorDetails

from lib.manifest.keys import nearest
from lib.manifest.report import show

_NAMED_TAGS: Final = ("<app>", "<context>")  # of entries that may be a name alone

_Context = dict[str, Any]


def code_of(error: ErrorDetails) -> str:
    """Return the stable code of an error."""
    if error["type"] == "floom":
        return str(error["ctx"]["code"])
    return _CODES.get(error["type"], "invalid_value")


def sentence(error: ErrorDetails, path: str) -> str:
    """Return one sentence that names the place, the rule and what is there."""
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return f"`{path}` is missing."
    if kind == "floom":
        return f"`{path}` {context['message']}{_it_is(context['message'], found)}."
    if kind.startswith("model_") and error["loc"][-1] in _NAMED_TAGS:
        return f"`{path}` must be a name or a map; it is {show(found)}."
    describe = _RULES.get(kind)
    rule = describe(context, found) if describe else _plain(error["msg"])
    return f"`{path}` {rule}."


def _it_is(message: str, found: Any) -> str:
    if isinstance(found, (dict, list)) or message.startswith("is "):
        return ""
    return f"; it is {show(found)}"


def _must_be(what: str) -> Callable[[_Context, Any], str]:
    return lambda _, found: f"must be {what}; it is {show(found)}"


def _one_of(context: _Context, found: Any) -> str:
    words = [word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")]
    guess = nearest(found, words) if isinstance(found, str) else None
    hint = f" (did you mean {guess}?)" if guess else ""
    allowed = words[0] if len(words) == 1 else "one of " + ", ".join(words)
    return f"must be {allowed}; it is {show(found)}{hint}"


def _too_long(context: _Context, found: Any) -> str:
    return f"must have at most {context['max_length']:,} characters; it has {len(found):,}"


def _too_short(context: _Context, found: Any) -> str:
    if not found:
        return "must not be empty"
    return f"must have at least {context['min_length']:,} characters; it has {len(found):,}"


def _too_many(context: _Context, _: Any) -> str:
    return f"must have at most {context['max_length']:,} items; it has {context['actual_length']:,}"


def _plain(message: str) -> str:
    return "is not valid: " + message.removeprefix("Value error, ").removeprefix("Input ").rstrip(
        "."
    )


def _trigger(_: _Context, found: Any) -> str:
    types = "manual, schedule, webhook, composio, run_failed"
    written = found.get("type") if isinstance(found, dict) else None
    return f"must be one of {types}; it is {show(written)}"


_RULES: Final[dict[str, Callable[[_Context, Any], str]]] = {
    "string_type": _must_be("text"),
    "int_type": _must_be("a whole number"),
    "int_from_float": _must_be("a whole number"),
    "float_type": _must_be("a number"),
    "bool_type": _must_be("true or false"),
    "tuple_type": _must_be("a list"),
    "dict_type": _must_be("a map"),
    "model_type": _must_be("a map"),
    "model_attributes_type": _must_be("a map"),
    "literal_error": _one_of,
    "string_too_long": _too_long,
    "string_too_short": _too_short,
    "too_long": _too_many,
    "unknown_trigger": _trigger,
}


_CODES: Final = {
    "missing": "missing_key",
    "literal_error": "unknown_word",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_many",
    "unknown_trigger": "unknown_word",
    **dict.fromkeys(
        (
            "string_type",
            "int_type",
            "int_from_float",
            "float_type",
            "bool_type",
            "tuple_type",
            "dict_type",
            "model_type",
        ),
        "wrong_type",
    ),
}
