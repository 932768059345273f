"""E-mail addresses: one form each, and no tricks in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.email_address import MAX_CHARACTERS, BadAddress, normal_address


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Ada@Example.com", "ada@example.com"),
        ("  ada+x@example.com\n", "ada+x@example.com"),
        ("ÄDA@exämple.com", "äda@exämple.com"),
        ("a\u0308da@example.com", "äda@example.com"),
        ("a@b", "a@b"),
    ],
)
def test_the_one_form(given_text: str, expected: str) -> None:
    assert normal_address(given_text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@", "a@", "@b", "a@b@c", "a b@c.de", "a\x00@b.cd", "a\r\nbcc:x@b.cd",
        "a\u200b@b.cd", "a\u202e@b.cd", "Ada <a@b.cd>", "a,b@c.de", "a@b.cd, e@f.gh", '"a"@b.cd',
        "=?utf-8?q?a=0ab?=@b.cd", "a\u034f@b.cd", "a\ufe0f@b.cd", "a\u3164@b.cd", "a\u2800@b.cd",
        "a\U000e0100@b.cd", "a\ud800@b.cd", "a\u00a0@b.cd", "a" * 65 + "@b.cd", "a@" + "b" * MAX_CHARACTERS,
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        normal_address(text)
    assert caught.value.errors[0].pointer == "/email"


@given(st.text(max_size=40) | st.emails().map(str))
def test_whatever_is_taken_is_its_own_form(text: str) -> None:
    try:
        address = normal_address(text)
    except BadAddress:
        return
    assert normal_address(address) == normal_address(address.upper().lower()) == address
    assert len(address) <= MAX_CHARACTERS
    assert not any(unicodedata.category(each)[0] in "CZ" for each in address)
