from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.mailbox import BadMailbox, Mailbox, parse_mailbox


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ada@example.org", Mailbox("ada", "example.org")),
        ("a.b+c@localhost", Mailbox("a.b+c", "localhost")),
        ("jörg@example.org", Mailbox("jörg", "example.org")),
        ("ada@[127.0.0.1]", Mailbox("ada", "[127.0.0.1]")),
        ("ada@[IPv6:::1]", Mailbox("ada", "[IPv6:::1]")),
        ("Ada L. <ada@example.org>", Mailbox("ada", "example.org", "Ada L.")),
        ('"L, Ada" <ada@example.org>', Mailbox("ada", "example.org", "L, Ada")),
        ("<ada@example.org>", Mailbox("ada", "example.org")),
    ],
)
def test_each_form_is_taken(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@example.org", "ada@", "ada@-x.org", "ada@x..org", "ada@bücher.example",
        "ada @example.org", "ada@example.org ", "a@b@c.org", '"a b"@example.org', "a(c)@example.org",
        "a@example.org,b@example.org", "Ada <a@b.org> <c@d.org>", "Ada <a@b.org", "a\n@example.org",
        "ada@example.org\n", "Ada\r\nBcc: x <ada@example.org>", "\ud800@example.org",
        "=?utf-8?q?a=0ab?=@example.org", "=?utf-8?q?a=0ab?= <a@example.org>",
        "x" * 65 + "@example.org", "x" * 60 + "@" + ".".join(["y" * 60] * 4),
    ],
)  # fmt: skip
def test_others_are_refused(text: str) -> None:
    with pytest.raises(BadMailbox, match=r"\Amust "):
        parse_mailbox(text)


@given(st.text())
def test_any_text_is_a_mailbox_of_one_line_or_refused(text: str) -> None:
    try:
        found = parse_mailbox(text)
    except BadMailbox:
        return
    assert parse_mailbox(found.address).address == found.address
    assert not set("\r\n") & set(found.address + found.name)
