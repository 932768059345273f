from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.smtp_address import BadSmtpAddress, SmtpAddress, parse_smtp_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("smtp://localhost", SmtpAddress("localhost", 25, is_tls=False)),
        ("smtp://[::1]:2525/", SmtpAddress("::1", 2525, is_tls=False)),
        ("smtps://mail.example", SmtpAddress("mail.example", 465, is_tls=True)),
        ("smtp://ada:pw@mail.example", SmtpAddress("mail.example", 587, False, "ada", "pw")),
        (
            "smtps://ada%40b.example:p%40%2F%3a%25@mail.example:4650",
            SmtpAddress("mail.example", 4650, True, "ada@b.example", "p@/:%"),
        ),
    ],
)
def test_each_form_is_taken(text: str, address: SmtpAddress) -> None:
    assert parse_smtp_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "mail.example", "http://mail.example", "smtp://", "smtp://:25", "smtp:mail.example",
        "smtp://mail.example/path", "smtp://mail.example?tls=1", "smtp://mail.example#x",
        "smtp://mail.example:0x19", "smtp://mail.example:99999", "smtp://ada@mail.example",
        "smtp://ada:@mail.example", "smtp://:horse@mail.example", "smtp://ada:ho rse@mail.example",
        "smtp://ada:horse/x@mail.example", "smtp://ada:horse#@mail.example", "smtp://ada:h%C3%B6@x",
        "smtp://ada:horse%0A@mail.example", "smtp://mail_1.example", "smtp://ada:horse@[x",
    ],
)  # fmt: skip
def test_others_are_refused_without_a_word_of_them(text: str) -> None:
    with pytest.raises(BadSmtpAddress) as caught:
        parse_smtp_address(text)
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_any_ascii_password_can_be_written(password: str) -> None:
    text = f"smtp://ada:{quote(password, safe='')}@mail.example"

    assert parse_smtp_address(text).password == password
    assert password not in repr(parse_smtp_address(text)) or len(password) < 16


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(BadSmtpAddress):
        parse_smtp_address("smtp://" + text)
