"""What mails say: a link, a label, and nothing else of the work."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.mail import Outbox
from lib.mail_texts import confirmed, invitation, one_line, review_request, sign_in_link

LINK = "https://floom.example/auth/magic/t0ken"
AT = datetime(2026, 11, 27, 9, 5, tzinfo=UTC)
SAID = "27 November 2026, 09:05 UTC"


def test_a_sign_in_link_asks_before_it_is_used_up() -> None:
    mail = sign_in_link(LINK, AT)

    assert f"\n{LINK}?confirm=1\n" in mail.text
    assert SAID in mail.text


def test_an_invitation_says_by_whom() -> None:
    mail = invitation(LINK, invited_by="grace@example.org", expires_at=AT)

    assert mail.text.startswith("grace@example.org has invited you")
    assert f"\n{LINK}?confirm=1\n" in mail.text
    assert SAID in mail.text


def test_a_review_request_has_label_worker_link_and_expiry() -> None:
    mail = review_request("Send\nthis mail?", worker="Invoice mailer", link=LINK, expires_at=AT)

    assert mail.subject == "Review: Send this mail?"
    for words in ("Send this mail?", '"Invoice mailer"', f"\n{LINK}\n", SAID):
        assert words in mail.text


@pytest.mark.parametrize(
    ("link", "whole"), [("/a", "/a?confirm=1"), ("/a?b=c", "/a?b=c&confirm=1")]
)
def test_the_question_joins_what_is_there(link: str, whole: str) -> None:
    assert confirmed(link) == whole


@given(st.text(), st.text())
def test_any_label_makes_a_mail_that_can_be_sent(label: str, worker: str) -> None:
    mail = review_request(label, worker=worker, link=LINK, expires_at=AT)

    assert Outbox().send("bo@example.org", mail.subject, mail.text)
    assert len(mail.text.splitlines()) == 9


def test_a_long_line_is_cut() -> None:
    assert one_line("x" * 900) == "x" * 149 + "…"
