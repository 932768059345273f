"""What mails say. A link and a label are in them, and nothing of the work itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lib.clock import spoken

MAX_LINE_CHARACTERS: Final = 150


@dataclass(frozen=True)
class MailText:
    """One mail.

    Attributes:
        subject: One line.
        text: The body, plain text.
    """

    subject: str
    text: str


def sign_in_link(link: str, expires_at: datetime) -> MailText:
    """Return the mail with a sign-in link that somebody asked for."""
    return MailText(
        "Sign in to Floom",
        f"""Open this link to sign in to Floom:

{confirmed(link)}

It works once, until {spoken(expires_at)}.
If you did not ask for it, you need not do anything.
""",
    )


def invitation(link: str, *, invited_by: str, expires_at: datetime) -> MailText:
    """Return the mail with which somebody is let in."""
    return MailText(
        "Your invitation to Floom",
        f"""{one_line(invited_by)} has invited you to Floom.
Open this link to sign in:

{confirmed(link)}

It works once, until {spoken(expires_at)}. If it is too late by then, ask for another.
""",
    )


def review_request(label: str, *, worker: str, link: str, expires_at: datetime) -> MailText:
    """Return the mail that asks for a decision.

    Args:
        label: What is asked; the proposal and its preview stay on the server.
        worker: Title of the worker that asks.
        link: The review page. It is a secret of whoever gets the mail.
        expires_at: When it is too late.
    """
    return MailText(
        f"Review: {one_line(label)}",
        f"""The worker "{one_line(worker)}" asks for a decision:

{one_line(label)}

Look at it, change it if need be, and approve or reject it here:

{link}

You can decide until {spoken(expires_at)}. The link is yours alone: do not forward it.
""",
    )


def confirmed(link: str) -> str:
    """Return a sign-in link that shows a page first, whatever opens it.

    Mail scanners and previews follow links, and would use it up.
    """
    return f"{link}{'&' if '?' in link else '?'}confirm=1"


def one_line(text: str) -> str:
    """Return a text that a worker or a person chose as one short line."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(printable.split())
    return line if len(line) <= MAX_LINE_CHARACTERS else f"{line[: MAX_LINE_CHARACTERS - 1]}…"
