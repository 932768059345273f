"""The review form: only what was changed is an edit, and nothing changes on its own."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import MalformedRequest
from lib.pages import forms, slots
from lib.pages.forms import Approval, read_approval, read_rejection
from lib.pages.review import review
from lib.pages.review_view import Choice, ReviewField
from tests.kit.html_page import HtmlPage
from tests.lib.pages.samples import ACTIONS, FIELDS, SHA256, review_view

TYPES = [
    "string", "text", "textarea", "number", "integer", "boolean", "select", "url", "email", "date",
    "datetime", "json", "markdown", "csv", "of-tomorrow",
]  # fmt: skip
# Text with what forms change, HTML replaces and encodings do not have.
TEXTS = st.text() | st.lists(
    st.sampled_from(["\r", "\n", "\r\n", "\0", "\ud800", "\x0b", "a"])
).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8
)
CHOICES = st.lists(st.builds(Choice, SCALARS, TEXTS), max_size=3)
OUTPUTS = st.builds(
    ReviewField,
    TEXTS,
    st.sampled_from(TYPES),
    VALUES,
    TEXTS,
    TEXTS,
    CHOICES,
    st.booleans(),
    st.booleans(),
)


def sent(fields: Any, **changes: str) -> bytes:
    """Return what a browser sends after these texts were typed, by output."""
    page = HtmlPage(review(review_view(fields=fields), ACTIONS).body)
    keys = {slot.field.name: slot.key for slot in slots.slots(fields)}
    return page.forms[0].encoded({keys[name]: text for name, text in changes.items()})


def edited(**changes: str) -> Approval:
    return read_approval(sent(FIELDS, **changes), FIELDS, SHA256)


def form(**values: str) -> bytes:
    return urlencode({forms.PROPOSAL: SHA256, **values}).encode()


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.lists(OUTPUTS, max_size=4, unique_by=lambda field: field.name))
def test_a_form_that_comes_back_untouched_changes_nothing(fields: list[ReviewField]) -> None:
    """Whatever the proposal holds, through HTML, a browser's line breaks and back."""
    found = read_approval(sent(fields), fields, SHA256)

    assert found.can_be_taken
    assert found.edits == {}


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")))
def test_text_that_is_typed_arrives(text: str) -> None:
    assert edited(to=text).edits == ({} if text == "ada@example.org" else {"to": text})


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_arrive(number: float) -> None:
    found = edited(amount=str(number)).edits

    assert found.get("amount", 1290.5) == number


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("to", "", ""),
        ("body", "a\nb", "a\nb"),
        ("count", " -7 ", -7),
        ("count", "+1", 1),
        ("amount", "1e3", 1000.0),
        ("amount", ".5", 0.5),
        ("amount", "12", 12),
        ("urgent", "true", True),
        ("tone", "1", "firm"),
        ("meta", '{"n": true, "tags": ["a", true]}', {"tags": ["a", True], "n": True}),
        ("meta", "null", None),
    ],
)
def test_what_is_changed_is_an_edit_of_the_output_s_type(name: str, text: str, value: Any) -> None:
    found = edited(**{name: text})

    assert found.can_be_taken
    assert found.edits == {name: value}
    assert type(found.edits[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "+3"),
        ("count", "003"),
        ("amount", " 1290.50"),
        ("amount", "1.2905e3"),
        ("meta", '{"n":1,"tags":["a",true]}'),
    ],
)
def test_the_same_value_written_otherwise_is_no_edit(name: str, text: str) -> None:
    found = edited(**{name: text})

    assert found.can_be_taken
    assert found.edits == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("count", "", "whole number"),
        ("count", "1.5", "whole number"),
        ("count", "٣", "whole number"),
        ("count", "9" * 5_000, "whole number"),
        ("amount", "", "a number"),
        ("amount", "1,5", "a number"),
        ("amount", "nan", "a number"),
        ("amount", "1e999", "a number"),
        ("amount", "1_0", "a number"),
        ("urgent", "yes", "Yes or No"),
        ("tone", "2", "one of the values"),
        ("tone", "calm", "one of the values"),
        ("tone", "as-proposed", "one of the values"),
        ("meta", "{", "not valid JSON"),
        ("meta", "", "not valid JSON"),
        ("meta", '{"a": NaN}', "NaN is no JSON"),
        ("meta", '{"a": 1, "a": 2}', "occurs twice"),
        ("meta", "9" * 5_000, "too many digits"),
        ("meta", "[" * 100_000, "nested too deeply"),
        ("to", "x" * 140_000, "Shorten this to 131,072 characters; it has 140,000."),
    ],
)
def test_what_is_no_value_is_a_problem_of_its_field_alone(name: str, text: str, words: str) -> None:
    others = {"body": "kept"}
    found = edited(**{**others, name: text})

    assert not found.can_be_taken
    assert found.answers.problems.keys() == {name}
    assert words in found.answers.problems[name]
    assert found.edits == others
    assert found.answers.typed[name] == text


def test_a_value_that_is_none_of_the_choices_can_stay() -> None:
    field = ReviewField("tone", "select", "loud", choices=(Choice("calm", "Calm"),))

    assert read_approval(sent([field]), [field], SHA256).edits == {}
    assert read_approval(sent([field], tone="0"), [field], SHA256).edits == {"tone": "calm"}


@pytest.mark.parametrize("value", [None, {"a": 1}, 1, math.nan, "a\0b", "\ud800"])
def test_a_value_that_its_type_cannot_hold_is_edited_as_json(value: Any) -> None:
    field = ReviewField("to", "string", value)

    assert read_approval(sent([field], to='"x"'), [field], SHA256).edits == {"to": "x"}


def test_a_field_that_is_not_sent_is_unchanged() -> None:
    found = read_approval(form(**{"output-0": "bo@example.org"}), FIELDS, SHA256)

    assert found.edits == {"to": "bo@example.org"}


def test_a_form_about_another_proposal_says_so_and_edits_nothing() -> None:
    found = read_approval(form(**{"output-0": "x", "output-99": "y"}), FIELDS, "cd" * 32)

    assert not found.can_be_taken
    assert (found.edits, found.answers.typed) == ({}, {})
    assert "has changed" in found.answers.notice


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"output-0=x",
        b"proposal_sha256",
        form() + b"&output-0=%ff",
        form() + b"&output-0=a&output-0=b",
        form() + b"&" + form(),
        form() + b"&&output-0=a",
        form(to="x"),
        form(**{"output-8": "x"}),
        form(**{"output-7": "of a file"}),
        form(reason="x"),
        form(**{f"output-{number}": "" for number in range(200)}),
        form(**{"output-0": "x" * (1024 * 1024)}),
    ],
)
def test_what_is_not_the_page_s_form_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_approval(body, FIELDS, SHA256)


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_form_or_refused(body: bytes, is_ours: bool) -> None:
    whole = form() + b"&" + body if is_ours else body
    try:
        read_approval(whole, FIELDS, SHA256)
        read_rejection(whole, SHA256)
    except MalformedRequest:
        pass


def test_what_a_form_could_not_carry_is_shown_and_not_sent() -> None:
    """Percent-encoded the editable rest still fits the cap."""
    fields = [ReviewField(f"f{number}", "text", "é" * 30_000) for number in range(9)]
    body = sent(fields)
    many = [ReviewField(f"f{number}", "text", "") for number in range(slots.MAX_FIELDS + 5)]

    assert body.count(b"output-") == 4
    assert len(body) < forms.MAX_FORM_BYTES
    assert sent(many).count(b"output-") == slots.MAX_FIELDS


def test_a_rejection_has_its_reason() -> None:
    page = HtmlPage(review(review_view(), ACTIONS).body)
    body = page.forms[1].encoded({forms.REASON: " Too\nlong. "})

    found = read_rejection(body, SHA256)

    assert found.can_be_taken
    assert found.reason == "Too\nlong."
    assert page.forms[1].values.keys() == {forms.PROPOSAL, forms.REASON}


def test_a_rejection_needs_no_reason_and_takes_no_edits() -> None:
    assert read_rejection(form(), SHA256).can_be_taken
    with pytest.raises(MalformedRequest):
        read_rejection(form(**{"output-0": "x"}), SHA256)


def test_a_reason_that_is_too_long_is_a_problem_and_kept() -> None:
    found = read_rejection(form(reason="x" * 2_001), SHA256)

    assert not found.can_be_taken
    assert "2,000 characters; it has 2,001" in found.answers.reason_problem
    assert len(found.answers.reason) == 2_001


def test_a_rejection_of_another_proposal_says_so() -> None:
    found = read_rejection(form(reason="x"), "cd" * 32)

    assert not found.can_be_taken
    assert "has changed" in found.answers.notice
    assert found.answers.reason == "x"
