"""What inputs take."""

from __future__ import annotations

from typing import Any

import pytest

from lib.manifest.inputs import Bounds, InputSpec
from lib.manifest.values import ValueMismatch, coerce

ANY_VALUES: tuple[Any, ...] = ("text", "", 1, 1.5, True, None, [], {})


def spec(type_: str, **more: Any) -> InputSpec:
    return InputSpec.model_validate({"name": "x", "type": type_, **more})


@pytest.mark.parametrize(
    ("type_", "value", "coerced"),
    [
        ("string", "", ""),
        ("textarea", "a\nb", "a\nb"),
        ("integer", 3, 3),
        ("integer", "3", 3),
        ("integer", 3.0, 3),
        ("number", "1.50", 1.5),
        ("number", "-2", -2),
        ("number", 0.1, 0.1),
        ("boolean", "true", True),
        ("boolean", False, False),
        ("url", "https://example.com/a?b#c", "https://example.com/a?b#c"),
        ("email", "ada@example.com", "ada@example.com"),
        ("date", "2026-02-28", "2026-02-28"),
        ("datetime", "2026-02-28T09:00:00Z", "2026-02-28T09:00:00Z"),
        ("datetime", "2026-02-28T09:00:00.123456789Z", "2026-02-28T09:00:00.123456789Z"),
        ("datetime", "2026-02-28 09:00:00+01:00", "2026-02-28 09:00:00+01:00"),
        ("datetime", "2026-02-28T09:00", "2026-02-28T09:00"),
        ("json", {"a": [None]}, {"a": [None]}),
    ],
)
def test_taken_values(type_: str, value: Any, coerced: Any):
    read = coerce(spec(type_), value)

    assert read == coerced
    assert type(read) is type(coerced)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("string", 1),
        ("markdown", True),
        ("integer", True),
        ("integer", "3.0"),
        ("integer", " 3"),
        ("integer", "03"),
        ("integer", 1.5),
        ("number", "one"),
        ("number", "nan"),
        ("number", float("inf")),
        ("number", "1e999"),
        ("boolean", "yes"),
        ("boolean", 1),
        ("url", "example.com"),
        ("url", "ftp://example.com"),
        ("url", "https://"),
        ("url", "https://[::1"),
        ("url", "https://a b"),
        ("email", "ada"),
        ("email", "ada@@example.com"),
        ("date", "2026-02-30"),
        ("date", "20260228"),
        ("date", "2026-2-28"),
        ("datetime", "noon"),
        ("datetime", "2024-01-01"),
        ("datetime", "2024-W01-1T09:00:00"),
        ("datetime", "20240101T090000"),
        ("datetime", "2024-01-01T09"),
        ("datetime", "2024-01-01t09:00:00z"),
        ("datetime", "2024-01-01T25:00:00Z"),
        ("datetime", "2024-01-01T09:00:00+25:00"),
        ("datetime", "2024-01-01T09:00:00Z\n"),
        ("datetime", "٢٠٢٤-01-01T09:00:00Z"),
    ],
)
def test_refused_values(type_: str, value: Any):
    with pytest.raises(ValueMismatch, match="must be"):
        coerce(spec(type_), value)


@pytest.mark.parametrize("value", ANY_VALUES)
def test_json_takes_anything(value: Any):
    assert coerce(spec("json"), value) == value


def test_choices_are_compared_as_json_does():
    one_or_zero = spec("select", enum=(1, 0))

    assert coerce(one_or_zero, 1) == 1
    with pytest.raises(ValueMismatch, match="one of 1, 0; it is true"):
        coerce(one_or_zero, True)


def test_bounds_hold_for_numbers_and_for_the_length_of_texts():
    number = InputSpec(name="x", type="number", bounds=Bounds(minimum=1, maximum=2))
    text = InputSpec(name="x", bounds=Bounds(min_length=1, max_length=2))

    assert (coerce(number, 1), coerce(number, 2), coerce(text, "é"), coerce(text, "寿司")) == (
        1,
        2,
        "é",
        "寿司",
    )
    for limited, value in ((number, 0.5), (number, 2.5), (text, ""), (text, "abc")):
        with pytest.raises(ValueMismatch, match=r"at (least|most)"):
            coerce(limited, value)


def test_a_file_is_given_as_text():
    assert coerce(InputSpec(name="x", kind="file"), "upl_1") == "upl_1"
    with pytest.raises(ValueMismatch, match="must be text"):
        coerce(InputSpec(name="x", kind="file"), 1)
