"""Why a vote is not taken."""

from __future__ import annotations

from lib.errors import Conflict, Forbidden, NotFound


class ApprovalConflict(Conflict):
    """It is decided already, or its time is over, or this voter has voted."""

    code = "approval_conflict"


class ApprovalChanged(Conflict):
    """The vote is for another proposal than the one that waits now."""

    code = "approval_changed"


class NotAVoter(Forbidden):
    """This voter's word does not count here."""


class ReviewNotFound(NotFound):
    """No review link is open under this token: unknown, used, revoked or over."""

    code = "approval_not_found"


def no_review() -> ReviewNotFound:
    """Return the one answer to every token that is good for nothing."""
    return ReviewNotFound(
        "This link leads to no open review: it was used, revoked, has expired, or never was."
    )
