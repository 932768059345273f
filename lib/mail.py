"""Sending mail: a port, SMTP, and an outbox for tests."""

from __future__ import annotations

import contextlib
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Final, Protocol

from lib.clock import Clock, SystemClock
from lib.log import event
from lib.mailbox import ENCODED_WORD, BadMailbox, Mailbox, parse_mailbox
from lib.smtp_address import SmtpAddress

TIMEOUT_SECONDS: Final = 10.0

_AGAIN_SECONDS: Final = 0.2  # a connection that took too long may be made after all

_LOG: Final = logging.getLogger(__name__)


class Mailer(Protocol):
    """What sends mail."""

    @property
    def is_set_up(self) -> bool:
        """Whether there is a mail server at all."""
        ...

    def send(self, to: str, subject: str, text: str) -> bool:
        """Hand one mail to the mail server; blocks, so call it in a thread.

        Args:
            to: One mailbox.
            subject: One line.
            text: The body, plain text.

        Returns:
            Whether the server has taken it. What failed is logged as
            `mail_failed`, with neither addresses nor a word of the mail, and
            never raised: whoever asks for a link must not wait for a mail server
            to be mended. After a failure the mail may have been sent all the same.
        """
        ...


class NoMailer:
    """Where no mail server is set: nothing is sent, and nothing is said."""

    is_set_up = False

    def send(self, to: str, subject: str, text: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False


@dataclass(frozen=True)
class Mail:
    """A mail that an outbox took."""

    to: str
    subject: str
    text: str


class Outbox:
    """Keeps mail instead of sending it; for tests.

    Attributes:
        sent: What was taken, oldest first.
        is_up: Whether mail is taken.
    """

    is_set_up = True

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.is_up = True

    def send(self, to: str, subject: str, text: str) -> bool:
        """Keep a mail that a server would take."""
        try:
            _message(Mailbox("floom", "localhost"), parse_mailbox(to), subject, text)
        except ValueError:
            return False
        if self.is_up:
            self.sent.append(Mail(to, subject, text))
        return self.is_up


class SmtpMailer:
    """Sends by SMTP, one connection a mail.

    TLS is used wherever the server offers it, with its certificate verified. A
    password is never sent without.

    Args:
        server: The mail server.
        sender: In `From`, and told to the server.
        tls: What certificates are trusted; the host's own by default.
        timeout_seconds: Longest wait for a connection to one of the server's
            addresses, and for all of a mail once there is one.
        clock: For the `Date` header.
    """

    is_set_up = True

    def __init__(
        self,
        server: SmtpAddress,
        sender: Mailbox,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()

    def send(self, to: str, subject: str, text: str) -> bool:
        """Send one mail, as the port says."""
        try:
            recipient = parse_mailbox(to)
            message = _message(self._sender, recipient, subject, text)
        except ValueError as ex:
            return self._failed("bad_address" if isinstance(ex, BadMailbox) else "bad_subject")
        message["Date"] = format_datetime(self._clock.now())
        try:
            self._deliver(message, recipient)
        except _TlsMissing:
            return self._failed("tls_not_offered")
        except OSError as ex:  # every error of smtplib is one
            return self._failed(_reason(ex), _code(ex))
        return True

    def _deliver(self, message: EmailMessage, recipient: Mailbox) -> None:
        tls = self._tls or ssl.create_default_context()
        client = _client(self._server, self._sender.domain, tls, self._timeout_seconds)
        with contextlib.closing(client), _deadline(client, self._timeout_seconds):
            client.connect(self._server.host, self._server.port)
            self._protect(client, tls)
            if self._server.user and self._server.password:
                client.login(self._server.user, self._server.password)
            client.send_message(message, self._sender.address, [recipient.address])
            with contextlib.suppress(OSError):  # it has the mail by now
                client.quit()

    def _protect(self, client: smtplib.SMTP, tls: ssl.SSLContext) -> None:
        if self._server.is_tls:
            return
        client.ehlo_or_helo_if_needed()
        if client.has_extn("starttls"):
            client.starttls(context=tls)
        elif self._server.password:
            raise _TlsMissing

    def _failed(self, reason: str, code: int | None = None) -> bool:
        server = f"{self._server.host}:{self._server.port}"
        event(_LOG, logging.WARNING, "mail_failed", server=server, reason=reason, smtp_code=code)
        return False


def build_mailer(server: SmtpAddress | None, sender: Mailbox) -> Mailer:
    """Return what sends mail by a server, or nothing where there is none; no I/O."""
    return NoMailer() if server is None else SmtpMailer(server, sender)


class _TlsMissing(Exception):
    """The server would have the password in the clear."""


def _message(sender: Mailbox, recipient: Mailbox, subject: str, text: str) -> EmailMessage:
    """Return a mail; raises ValueError for a subject with a line break in it."""
    if len(f"{subject}.".splitlines()) > 1:  # the library takes one at the end
        raise ValueError("the subject must be one line")
    message = EmailMessage(policy=SMTP)
    message["From"] = _header(sender)
    message["To"] = _header(recipient)
    # Only taken apart does it stay what it is: text that somebody wrote.
    message["Subject"] = _encodable(subject).replace(ENCODED_WORD, "= ?")
    message["Message-ID"] = make_msgid(domain=sender.domain.strip("[]"))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers, please
    message.set_content(_encodable(text))
    return message


def _header(mailbox: Mailbox) -> Address:
    return Address(mailbox.name, mailbox.local, mailbox.domain)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _client(server: SmtpAddress, own: str, tls: ssl.SSLContext, seconds: float) -> smtplib.SMTP:
    """Return a client that is not connected yet, so that a deadline can hold it from the start."""
    client = (
        smtplib.SMTP_SSL(local_hostname=own, timeout=seconds, context=tls)
        if server.is_tls
        else smtplib.SMTP(local_hostname=own, timeout=seconds)
    )
    # The name that the certificate must have; smtplib takes it from its initialiser
    # alone, which would connect at once.
    client._host = server.host  # type: ignore[attr-defined]  # noqa: SLF001
    return client


@contextlib.contextmanager
def _deadline(client: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """End the connection when the time is over.

    A socket's own timeout starts anew with every byte, so a server that sends one
    now and then could hold a thread for ever.
    """
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(client, seconds, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(client: smtplib.SMTP, seconds: float, over: threading.Event) -> None:
    wait_seconds = seconds
    while not over.wait(wait_seconds):
        _hang_up(client)
        wait_seconds = _AGAIN_SECONDS


def _hang_up(client: smtplib.SMTP) -> None:
    connection = client.sock
    if connection is not None:
        with contextlib.suppress(OSError):
            # Not the method of a TLS socket, which is for the thread that reads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _reason(error: OSError) -> str:
    """Return a word for what went wrong; the server's own words may hold addresses."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return "sign_in_refused"
        case smtplib.SMTPResponseException() | smtplib.SMTPRecipientsRefused():
            return "refused"
        case ssl.SSLError():
            return "tls"
        case smtplib.SMTPServerDisconnected() | TimeoutError():
            return "no_answer"
        case smtplib.SMTPException():  # it has no way to sign in, or not for such an address
            return "not_supported"
        case _:
            return "unreachable"


def _code(error: OSError) -> int | None:
    """Return the server's status code, if it gave one."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return next(iter(error.recipients.values()))[0]
    return None
