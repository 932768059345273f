"""Findings: where, in the caller's terms, and what is allowed there."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import Discriminator, Field, ValidationError, field_validator

from lib.errors import Invalid
from lib.web import body, validation
from lib.web.models import RequestModel


class Colour(StrEnum):
    RED = "red"


class Cat(RequestModel):
    kind: Literal["cat"]
    lives: int


class Dog(RequestModel):
    kind: Literal["dog"]


class Form(RequestModel):
    n: int = 0
    ratio: float = 0
    at: datetime | None = None
    colour: Colour = Colour.RED
    odd: dict[str, int | str | list[int]] = Field(default_factory=dict)
    pet: Annotated[Cat | Dog, Discriminator("kind")] | None = None
    word: str = Field(default="", max_length=3, pattern="^[a-z]*$")
    even: int = Field(default=0, alias="evenNumber")

    @field_validator("even")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("choose an even number")
        return value


def findings(raw):
    with pytest.raises(Invalid) as caught:
        body.validate(Form, raw, body.parse(raw))
    return {error.pointer: error.detail for error in caught.value.errors}


@pytest.mark.parametrize(
    ("raw", "pointer", "sentence"),
    [
        (b'{"n": "1"}', "/n", "Must be a whole number."),
        (b'{"n": 1.5}', "/n", "Must be a whole number."),
        (b'{"n": true}', "/n", "Must be a whole number."),
        (b'{"ratio": "1"}', "/ratio", "Must be a number."),
        (b'{"word": 1}', "/word", "Must be a string."),
        (b'{"word": "abcd"}', "/word", "Must have at most 3 characters."),
        (b'{"word": "A"}', "/word", "Must match ^[a-z]*$."),
        (b'{"colour": "blue"}', "/colour", "Must be 'red'."),
        (b'{"evenNumber": 3}', "/evenNumber", "choose an even number."),
        (b'{"pet": {"kind": "cat"}}', "/pet/lives", "This field is required."),
        (b'{"pet": {"kind": "cat", "lives": "9"}}', "/pet/lives", "Must be a whole number."),
        (b'{"odd": {"a/b~c": {}}}', "/odd/a~1b~0c", "Must be a whole number."),
        (b'{"odd": {"": {}}}', "/odd/", "Must be a whole number."),
        (b'{"odd": {"x": [1, "2"]}}', "/odd/x/1", "Must be a whole number."),
        (b'{"wat": 1}', "/wat", "There is no such field; remove it or correct its name."),
        (b'{"wat": {"n": 1}}', "/wat", "There is no such field; remove it or correct its name."),
        (b"[]", "", "Must be an object."),
        (b"null", "", "Must be an object."),
    ],
)
def test_each_finding_names_its_place_and_what_is_allowed(raw, pointer, sentence):
    found = findings(raw)

    assert pointer in found
    if not pointer.startswith("/odd"):
        assert found == {pointer: sentence}


def test_times_and_enums_are_read_from_their_texts():
    form = body.validate(Form, b'{"at": "2026-01-01T00:00:00Z", "colour": "red"}', {})

    assert form.at is not None
    assert form.colour is Colour.RED


def test_a_finding_never_quotes_the_input():
    with pytest.raises(Invalid) as caught:
        body.validate(
            Form, b'{"colour": "hunter2", "n": "hunter2", "pet": {"kind": "hunter2"}}', {}
        )

    assert "hunter2" not in repr(caught.value.errors)


def test_a_hostile_body_does_not_make_a_larger_answer():
    raw = b'{"odd": {' + b",".join(b'"k%d": {}' % n for n in range(5000)) + b"}}"

    assert len(findings(raw)) <= validation.MAX_ERRORS


def test_every_sentence_can_be_filled_in():
    with pytest.raises(ValidationError) as caught:
        Form.model_validate({"n": "x", "word": "AAAAA", "evenNumber": 1, "z": 0})

    assert all(validation.sentence_of(d).endswith(".") for d in caught.value.errors())
