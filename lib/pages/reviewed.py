"""The page after a decision: what was recorded."""

from __future__ import annotations

from typing import Literal

from lib.pages.page import Page, render

Recorded = Literal["approved", "counted", "rejected"]


def reviewed(label: str, recorded: Recorded, *, votes: int = 1, required: int = 1) -> Page:
    """Return the page that a reviewer sees last.

    Args:
        label: What was decided on.
        recorded: `approved` and `rejected` end the approval; `counted` is a vote
            that others must join.
        votes: Votes there are now, with this one.
        required: Votes that it takes.
    """
    return render("reviewed.html", label=label, recorded=recorded, votes=votes, required=required)
