"""Inputs: every type valid and invalid, a pointer per problem, never an exception."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import FieldError, Invalid
from lib.runs.inputs import check_saved_inputs, resolve_inputs
from tests.lib.runs.manifests import manifest

ALL = manifest("""
exec:
  inputs:
    - {name: string, type: string, bounds: {min_length: 2, max_length: 5}}
    - {name: text, type: text}
    - {name: textarea, type: textarea}
    - {name: number, type: number, bounds: {minimum: 0, maximum: 10}}
    - {name: integer, type: integer}
    - {name: boolean, type: boolean}
    - {name: select, type: select, options: [a, b]}
    - {name: url, type: url}
    - {name: email, type: email}
    - {name: date, type: date}
    - {name: datetime, type: datetime}
    - {name: json, type: json}
    - {name: markdown, type: markdown}
    - {name: csv, type: csv}
    - {name: decision, type: string}
""")
REQUIRED = manifest("""
exec:
  inputs:
    - {name: who, type: string, required: true}
    - {name: greeting, type: string, default: Hello}
""")

VALID = [
    ("string", "abc", "abc"),
    ("text", "a\nb", "a\nb"),
    ("textarea", "x", "x"),
    ("number", 1.5, 1.5),
    ("number", "1.5", 1.5),
    ("integer", 3, 3),
    ("integer", "3", 3),
    ("integer", 3.0, 3),
    ("boolean", True, True),
    ("boolean", "false", False),
    ("select", "a", "a"),
    ("url", "https://example.com/x?y=1", "https://example.com/x?y=1"),
    ("email", "ada@example.com", "ada@example.com"),
    ("date", "2026-02-28", "2026-02-28"),
    ("datetime", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z"),
    ("json", [1, {"a": None}], [1, {"a": None}]),
    ("markdown", "# x", "# x"),
    ("csv", "a,b\n", "a,b\n"),
]
INVALID = [
    ("string", 3),
    ("string", "x"),
    ("string", "xxxxxx"),
    ("string", ["x"]),
    ("text", False),
    ("number", "ten"),
    ("number", -1),
    ("number", 11),
    ("number", True),
    ("integer", 1.5),
    ("integer", "1.0x"),
    ("integer", True),
    ("boolean", "yes"),
    ("boolean", 1),
    ("select", "c"),
    ("url", "example.com"),
    ("url", "javascript:alert(1)"),
    ("email", "ada"),
    ("date", "2026-02-30"),
    ("date", "28.02.2026"),
    ("datetime", "yesterday"),
    ("markdown", 1),
    ("csv", {}),
]


@pytest.mark.parametrize(("name", "given_value", "expected"), VALID)
def test_valid_values_are_coerced(name: str, given_value: Any, expected: Any) -> None:
    value = resolve_inputs(ALL, {name: given_value}, {})[name]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("name", "given_value"), INVALID)
def test_invalid_values_have_a_pointer(name: str, given_value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        resolve_inputs(ALL, {name: given_value}, {})
    assert [error.pointer for error in caught.value.errors] == [f"/inputs/{name}"]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        resolve_inputs(ALL, {"integer": "x", "date": "x", "a/b~c": 1}, {})
    pointers = {error.pointer for error in caught.value.errors}
    assert pointers == {"/inputs/integer", "/inputs/date", "/inputs/a~1b~0c"}


def test_reserved_inputs_are_never_taken_from_a_caller() -> None:
    with pytest.raises(Invalid) as caught:
        resolve_inputs(ALL, {"decision": "approved"}, {})
    assert caught.value.errors[0].detail == "is set by the runtime and cannot be given"


@pytest.mark.parametrize("name", ["approved_output", "phase", "event"])
def test_engine_names_that_are_not_declared_are_unknown(name: str) -> None:
    with pytest.raises(Invalid):
        resolve_inputs(REQUIRED, {"who": "x", name: {}}, {})


def test_given_lies_over_saved_over_default() -> None:
    saved = {"who": "saved", "greeting": "Hi", "gone": 1}
    assert resolve_inputs(REQUIRED, {"who": "given"}, saved) == {"who": "given", "greeting": "Hi"}
    assert resolve_inputs(REQUIRED, {"who": "given"}, {}) == {"who": "given", "greeting": "Hello"}


@pytest.mark.parametrize("value", [None, ""])
def test_required_means_not_empty(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        resolve_inputs(REQUIRED, {"who": value}, {})
    assert caught.value.errors[0].pointer == "/inputs/who"


def test_what_is_saved_is_refused_with_the_words_of_a_start() -> None:
    for name in ("decision", "nope", "a/b"):
        with pytest.raises(Invalid) as saving:
            check_saved_inputs(ALL, {name: "x"})
        with pytest.raises(Invalid) as starting:
            resolve_inputs(ALL, {name: "x"}, {})
        (saved,) = saving.value.errors
        started = next(
            each
            for each in starting.value.errors
            if each.pointer.endswith(saved.pointer.removeprefix("/saved_inputs"))
        )
        assert saved.detail == started.detail


def test_saved_inputs_are_checked_and_null_removes() -> None:
    assert check_saved_inputs(ALL, {"integer": "3", "date": None}) == {"integer": 3, "date": None}
    with pytest.raises(Invalid) as caught:
        check_saved_inputs(ALL, {"integer": "x", "nope": 1, "decision": "approved"})
    assert {error.pointer for error in caught.value.errors} == {
        "/saved_inputs/integer",
        "/saved_inputs/nope",
        "/saved_inputs/decision",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([spec.name for spec in ALL.inputs]) | st.text(), JSON))
def test_any_json_is_taken_or_refused_with_pointers(values: dict[str, Any]) -> None:
    refused: tuple[FieldError, ...] = ()
    try:
        resolved = resolve_inputs(ALL, values, {})
    except Invalid as error:
        refused = error.errors
        resolved = {}
    assert resolve_inputs(ALL, resolved, {}) == resolved
    assert all(each.pointer.startswith("/inputs/") for each in refused)
    assert refused or len(resolved) <= len(values)


def test_a_saved_value_that_does_not_fit_is_named_as_saved() -> None:
    """Whoever starts the run sent nothing, so cannot mend it there."""
    with pytest.raises(Invalid) as caught:
        resolve_inputs(ALL, {}, {"integer": "abc"})
    (problem,) = caught.value.errors
    assert problem.pointer == "/inputs/integer"
    assert "saved input" in problem.detail
    with pytest.raises(Invalid) as caught:
        resolve_inputs(ALL, {"integer": "abc"}, {"integer": 1})
    assert "saved" not in caught.value.errors[0].detail


def test_an_empty_text_is_told_from_none() -> None:
    with pytest.raises(Invalid, match="must not be empty"):
        resolve_inputs(REQUIRED, {"who": ""}, {})
    with pytest.raises(Invalid, match="is required"):
        resolve_inputs(REQUIRED, {}, {})
