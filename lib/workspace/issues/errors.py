"""What can go wrong with issues."""

from __future__ import annotations

from lib.errors import Conflict, Invalid, NotFound


class IssueNotFound(NotFound):
    """No issue has this id."""

    code = "issue_not_found"


class IssueBroken(Conflict):
    """The issue's file was edited by hand and cannot be read."""

    code = "issue_broken"


class NoNumberLeft(Conflict):
    """The highest number that an issue may have is in use."""

    code = "issue_numbers_used_up"


class IssueFull(Invalid):
    """There is no room for another comment."""

    code = "issue_full"
