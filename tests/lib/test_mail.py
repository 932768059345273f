"""Mail over real connections: what arrives, what is refused, and what is never told."""

from __future__ import annotations

import contextlib
import email
import email.policy
import logging
import smtplib
import ssl
from email.message import EmailMessage
from typing import NamedTuple

import pytest
from aiosmtpd.smtp import LoginPassword
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import mail
from lib.clock import ManualClock
from lib.mail import Mail, Mailer, NoMailer, Outbox, SmtpMailer, build_mailer
from lib.mailbox import parse_mailbox
from lib.smtp_address import SmtpAddress
from tests.kit.smtp_servers import (
    Letters,
    bad_server,
    closing,
    dripping,
    mail_server,
    make_certificate,
    silent,
)

SENDER = parse_mailbox("Floom <floom@floom.example>")
LINK = "https://floom.example/auth/magic/t0ken-" + "x" * 90 + "?confirm=1"
PASSWORD = "correct horse"


class Certificate(NamedTuple):
    server: ssl.SSLContext
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(*make_certificate(tmp_path_factory.mktemp("tls")))


@pytest.fixture
def letters() -> Letters:
    return Letters()


def mailer(
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    is_tls: bool = False,
    password: str | None = None,
    host: str = "localhost",
    seconds: float = 10,
) -> SmtpMailer:
    user = "ada" if password else None
    server = SmtpAddress(host, port, is_tls, user, password)
    return SmtpMailer(server, SENDER, tls=tls, timeout_seconds=seconds, clock=ManualClock())


def send(mailer: Mailer, to: str = "bo@example.org", subject: str = "Sign in") -> bool:
    return mailer.send(to, subject, f"Öffne:\n\n{LINK}\n")


def received(letters: Letters) -> EmailMessage:
    (envelope,) = letters.taken
    assert isinstance(envelope.content, bytes)
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


def failures(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int | None]]:
    """Return reason and code of what was logged; none of it tells whom or what."""
    found = []
    for record in caplog.records:
        if record.name != "lib.mail":
            continue
        fields = record.__dict__["floom_fields"]
        assert record.getMessage() == "mail_failed"
        assert record.levelno == logging.WARNING
        assert fields.keys() == {"server", "reason", "smtp_code"}
        for secret in ("example.org", "t0ken", "horse", "Sign in", "floom.example"):
            assert secret not in repr(fields)
        found.append((fields["reason"], fields["smtp_code"]))
    return found


def test_a_mail_arrives_as_it_was_written(letters: Letters) -> None:
    with mail_server(letters) as port:
        assert send(mailer(port), "Bo <bo@example.org>", "Prüfen: “Mail”?")

    message = received(letters)
    assert (message["From"], message["To"]) == (
        "Floom <floom@floom.example>",
        "Bo <bo@example.org>",
    )
    assert message["Subject"] == "Prüfen: “Mail”?"
    assert message["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@floom.example>")
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == f"Öffne:\n\n{LINK}\n"
    envelope = letters.taken[0]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("floom@floom.example", ["bo@example.org"])
    assert letters.helos == ["floom.example"]  # and not this machine's name


def test_starttls_is_used_where_it_is_offered(letters: Letters, certificate: Certificate) -> None:
    with mail_server(letters, starttls=certificate.server) as port:
        assert send(mailer(port, tls=certificate.trust))

    assert letters.were_encrypted == [True]


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_password_goes_over_tls(letters: Letters, certificate: Certificate, is_tls: bool) -> None:
    kind = {"tls" if is_tls else "starttls": certificate.server}
    with mail_server(letters, has_auth=True, **kind) as port:
        assert send(mailer(port, tls=certificate.trust, is_tls=is_tls, password=PASSWORD))

    assert letters.logins == [LoginPassword(b"ada", b"correct horse")]
    assert len(letters.taken) == 1


def test_a_password_is_never_sent_in_the_clear(
    letters: Letters, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(letters, has_auth=True) as port:
        assert not send(mailer(port, password=PASSWORD))

    assert (letters.logins, letters.taken) == ([], [])
    assert failures(caplog) == [("tls_not_offered", None)]


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    letters: Letters, certificate: Certificate, caplog: pytest.LogCaptureFixture, is_tls: bool
) -> None:
    kind = {"tls" if is_tls else "starttls": certificate.server}
    with mail_server(letters, has_auth=True, **kind) as port:
        assert not send(mailer(port, is_tls=is_tls, password=PASSWORD))

    assert (letters.logins, letters.taken) == ([], [])
    assert failures(caplog) == [("tls", None)]


def test_a_certificate_of_another_name_gets_nothing(
    letters: Letters, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(letters, starttls=certificate.server) as port:
        assert not send(mailer(port, tls=certificate.trust, host="127.0.0.2"))
        assert failures(caplog) != []
        assert send(mailer(port, tls=certificate.trust, host="127.0.0.1"))


def test_a_wrong_password_is_a_refusal(
    letters: Letters, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(letters, has_auth=True, starttls=certificate.server) as port:
        assert not send(mailer(port, tls=certificate.trust, password="battery horse"))

    assert letters.taken == []
    assert failures(caplog) == [("sign_in_refused", 535)]


def test_a_server_that_asks_nobody_cannot_be_given_a_password(
    letters: Letters, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(letters, starttls=certificate.server) as port:
        assert not send(mailer(port, tls=certificate.trust, password=PASSWORD))

    assert failures(caplog) == [("not_supported", None)]


@pytest.mark.parametrize("stage", ["rcpt_answer", "data_answer"])
def test_a_server_that_refuses_is_told_by_its_code(
    letters: Letters, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    setattr(letters, stage, "550 no bo@example.org here")
    with mail_server(letters) as port:
        assert not send(mailer(port))

    assert failures(caplog) == [("refused", 550)]


def test_a_server_that_is_down_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with bad_server(silent) as port:
        pass

    assert not send(mailer(port))
    assert failures(caplog) == [("unreachable", None)]


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("behave", [silent, dripping, closing])
def test_a_server_that_does_not_answer_holds_nobody(
    caplog: pytest.LogCaptureFixture, behave, is_tls: bool
) -> None:
    with bad_server(behave) as port:
        assert not send(mailer(port, seconds=0.5, is_tls=is_tls))

    ((reason, code),) = failures(caplog)
    assert reason in {"no_answer", "tls", "unreachable"}
    assert code is None


def test_a_connection_that_is_made_after_the_deadline_is_ended_too() -> None:
    client = smtplib.SMTP()

    def greet(port: int) -> None:
        client.connect("127.0.0.1", port)  # may take the half greeting for a whole one
        client.ehlo()

    with (
        bad_server(dripping) as port,
        contextlib.closing(client),
        mail._deadline(client, 0),
        pytest.raises((smtplib.SMTPException, OSError)),  # wherever the end meets it
    ):
        greet(port)


BREAKS = ["a\nBcc: mallory@example.org", "a\r\nBcc: m", "a\rb", "a\n", "\n"]


@pytest.mark.parametrize("subject", BREAKS)
def test_a_subject_cannot_add_a_header(
    letters: Letters, caplog: pytest.LogCaptureFixture, subject: str
) -> None:
    with mail_server(letters) as port:
        assert not send(mailer(port), subject=subject)

    assert letters.taken == []
    assert failures(caplog) == [("bad_subject", None)]


@pytest.mark.parametrize(
    "to",
    [
        "",
        "bo",
        "a@example.org, b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        "<a@b> c@d",
        "=?utf-8?q?a=0aBcc=3a_b?=@example.org",
        "=?utf-8?q?a=0aBcc=3a_b?= <a@example.org>",
    ],
)
def test_a_mail_goes_to_one_mailbox_or_to_nobody(
    letters: Letters, caplog: pytest.LogCaptureFixture, to: str
) -> None:
    with mail_server(letters) as port:
        assert not send(mailer(port), to=to)

    assert letters.taken == []
    assert failures(caplog) == [("bad_address", None)]


ENCODED = [
    "Hi =?utf-8?q?a=0d=0aBcc=3a_m@example.org?=",
    "=?utf-8?b?YQ0KDQpib2R5?= b",
    "=?x?q?=0a?=",
]


@pytest.mark.parametrize("subject", ENCODED)
def test_an_encoded_word_in_a_subject_stays_text(letters: Letters, subject: str) -> None:
    with mail_server(letters) as port:
        assert send(mailer(port), subject=subject)

    (envelope,) = letters.taken
    assert isinstance(envelope.content, bytes)
    assert b"Bcc:" not in envelope.content
    assert received(letters)["Subject"] == subject.replace("=?", "= ?")
    assert LINK in received(letters).get_content()


@settings(deadline=None, max_examples=60)
@given(st.text() | st.sampled_from(ENCODED), st.text())
def test_no_subject_and_no_text_breaks_out_of_its_place(subject: str, text: str) -> None:
    letters = Letters()
    with mail_server(letters) as port:
        is_sent = mailer(port).send("bo@example.org", subject, text)

    assert len(letters.taken) == is_sent
    if is_sent:
        assert {name.lower() for name in received(letters)} == {
            "from", "to", "subject", "date", "message-id", "auto-submitted", "content-type",
            "content-transfer-encoding", "mime-version",
        }  # fmt: skip


def test_half_a_surrogate_pair_is_a_question_mark(letters: Letters) -> None:
    with mail_server(letters) as port:
        assert mailer(port).send("bo@example.org", "a\ud800", "b\ud800")

    assert received(letters)["Subject"] == "a?"
    assert received(letters).get_content().strip() == "b?"


def test_an_outbox_keeps_what_a_server_would_take() -> None:
    outbox = Outbox()

    assert outbox.send("bo@example.org", "Hello", "text")
    assert not outbox.send("nobody", "Hello", "text")
    assert not outbox.send("bo@example.org", "a\nb", "text")
    outbox.is_up = False
    assert not outbox.send("bo@example.org", "Hello", "text")
    assert outbox.sent == [Mail("bo@example.org", "Hello", "text")]


def test_a_mailer_is_built_from_what_is_set(letters: Letters) -> None:
    assert not send(build_mailer(None, SENDER))
    with mail_server(letters) as port:
        assert send(build_mailer(SmtpAddress("localhost", port, is_tls=False), SENDER))


def test_without_a_server_nothing_is_sent_or_said(caplog: pytest.LogCaptureFixture) -> None:
    assert not send(NoMailer())
    assert failures(caplog) == []
