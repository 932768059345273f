"""The page that says what is not possible, and what to do."""

from __future__ import annotations

from lib.pages.page import Page, render


def refused(title: str, text: str, status: int) -> Page:
    """Return a page of one heading and one paragraph, with an error's status."""
    return render("refused.html", status=status, title=title, text=text)
