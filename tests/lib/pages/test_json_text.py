"""JSON that a person typed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.pages.json_text import MAX_DEPTH, NotJson, parse, pretty

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)  # fmt: skip


def nested(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


@given(JSON)
def test_what_is_written_is_read(value):
    assert parse(pretty(value)) == value
    assert parse(json.dumps(value)) == value


def test_half_a_character_and_escaped_whole_ones_are_told_apart():
    assert parse(r'"\ud83d\ude00 \u0000"') == "\U0001f600 \0"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1e999", "too large"),
        ("[-1e999]", "too large"),
        ("NaN", "no JSON"),
        (r'"\ud800"', "half of a character"),
        (r'{"\udc00": 1}', "half of a character"),
        (nested(MAX_DEPTH + 1), "nested too deeply"),
        (nested(300), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        ("9" * 5_000, "too many digits"),
        ('{"a": 1, "a": 2}', "occurs twice"),
    ],
)
def test_what_could_not_be_kept_or_shown_is_refused(text, why):
    """Stored, it would be an error for whoever looks at the run, for ever."""
    with pytest.raises(NotJson, match=why):
        parse(text)


def test_as_many_levels_as_can_be_shown_are_taken():
    assert pretty(parse(nested(MAX_DEPTH))) is not None
