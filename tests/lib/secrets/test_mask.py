"""Masks: whatever the text, no value is in what comes out."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lib.secrets.mask import MASK, MIN_MASKED_CHARACTERS, NO_MASK, Mask, can_be_masked

KEY = "tok-4f9a1c"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQE\nab\n-----END KEY-----\n"
VALUES = st.lists(st.text("ab", min_size=6, max_size=9), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("nothing", "nothing"),
        (KEY, "***"),
        (f"a {KEY} b {KEY}{KEY} c", "a *** b *** c"),
        (KEY[:-1], KEY[:-1]),
        (KEY.upper(), KEY.upper()),
    ],
)
def test_every_occurrence_is_hidden(text: str, shown: str) -> None:
    assert Mask([KEY]).text(text) == shown


def test_a_value_of_five_characters_is_not_hidden_and_of_six_is() -> None:
    assert MIN_MASKED_CHARACTERS == 6
    assert Mask(["12345", "abcdef"]).text("12345 abcdef") == "12345 ***"
    assert not Mask(["12345"])
    assert not can_be_masked("12345")
    assert not can_be_masked(" 1234 \n")
    assert can_be_masked("123456")


def test_values_that_overlap_are_hidden_as_one() -> None:
    assert Mask(["abcdef", "defghi"]).text("xabcdefghiy") == "x***y"
    assert Mask(["abcdef", "abcdefgh"]).text("xabcdefghy abcdef") == "x***y ***"
    assert Mask(["ababab"]).text("xababababx") == "x***x"


def test_a_value_of_several_lines_is_hidden_line_by_line_and_whole() -> None:
    mask = Mask([PEM])
    assert mask.text(PEM) == MASK
    shown = [mask.text(f"> {line}") for line in PEM.splitlines()]
    assert shown == ["> ***", "> ***", "> ***", "> ab", "> ***"]
    assert Mask([PEM.replace("\n", "\r\n")]).text("MIIEvQIBADANBg") == MASK


def test_blanks_around_a_value_do_not_matter() -> None:
    assert Mask([f"  {KEY}\n"]).text(f"key={KEY};") == "key=***;"


@pytest.mark.parametrize("kept", range(3, len(KEY)))
def test_the_beginning_of_a_value_is_hidden_where_the_text_was_cut(kept: int) -> None:
    assert Mask([KEY]).excerpt(f"x {KEY[:kept]}", end_is_cut=True) == "x ***"
    assert Mask([KEY]).excerpt(f"{KEY[-kept:]} x", start_is_cut=True) == "*** x"
    assert Mask([KEY]).excerpt(f"x {KEY[:kept]}") == f"x {KEY[:kept]}"


def test_a_whole_value_at_a_cut_is_hidden_even_where_it_begins_as_it_ends() -> None:
    value = "xyzabcxyz"
    assert Mask([value]).excerpt(f"- {value}", end_is_cut=True) == "- ***"
    assert Mask([value]).excerpt(f"{value} -", start_is_cut=True) == "*** -"
    assert Mask([KEY]).excerpt(f"{KEY} {KEY}", start_is_cut=True, end_is_cut=True) == "*** ***"
    assert Mask([KEY]).excerpt("", start_is_cut=True, end_is_cut=True) == ""


def test_texts_and_keys_of_a_json_value_are_masked_and_nothing_else() -> None:
    quoted = 'to"ken\nsecret'
    value = {KEY: [f"x{KEY}", 1, 1.5, None, True, {"a": quoted}], "b": ""}
    shown = {MASK: [f"x{MASK}", 1, 1.5, None, True, {"a": MASK}], "b": ""}
    assert Mask([KEY, quoted]).json(value) == shown
    assert value[KEY] is not None
    assert NO_MASK.json(value) is value
    assert Mask([KEY]).json(None) is None


def test_nothing_of_a_value_is_in_what_a_mask_says_of_itself() -> None:
    assert KEY not in repr(Mask([KEY]))


@given(values=VALUES, text=st.text("abc", max_size=60))
def test_no_value_is_left_and_nothing_else_is_lost(values: list[str], text: str) -> None:
    shown = Mask(values).text(text)
    assert not any(value in shown for value in values)
    hidden = [False] * len(text)
    for value in values:
        for at in range(len(text)):
            if text.startswith(value, at):
                hidden[at : at + len(value)] = [True] * len(value)
    assert shown.replace(MASK, "") == "".join(
        char for char, gone in zip(text, hidden, strict=True) if not gone
    )
    assert Mask(values).text(shown) == shown


@given(values=VALUES, before=st.text("abc", max_size=9), kept=st.integers(3, 8))
def test_no_long_piece_is_left_at_a_cut(values: list[str], before: str, kept: int) -> None:
    value = values[0]
    assume(kept < len(value))
    end = Mask(values).excerpt(before + value[:kept], end_is_cut=True)
    assert end.endswith(MASK)
    start = Mask(values).excerpt(value[-kept:] + before, start_is_cut=True)
    assert start.startswith(MASK)


def test_a_full_log_costs_little() -> None:
    """4 MiB of lines, ten secrets; the bound is some ten times what was measured."""
    values = [f"secret-{number}-{'x' * 30}" for number in range(10)]
    lines = [
        f"2026-01-01 12:00:00 INFO order {number} done " + "y" * 45 for number in range(45_000)
    ]
    lines[::100] = [f"token {values[3]} used" for _ in lines[::100]]
    mask = Mask(values)
    began = time.process_time()
    shown = [mask.text(line) for line in lines]
    assert time.process_time() - began < 1.0
    assert shown[0] == "token *** used"


def test_a_value_that_a_text_is_full_of_does_no_harm() -> None:
    long = "a" * 32_768
    text = json.dumps(["a" * 16_384])
    began = time.process_time()
    assert Mask([long]).excerpt(text, start_is_cut=True, end_is_cut=True) == text
    assert Mask([long]).excerpt("a" * 16_384, end_is_cut=True) == MASK
    assert Mask(["aaaaaa"]).text("a" * 1_000_000) == MASK
    assert time.process_time() - began < 2.0
