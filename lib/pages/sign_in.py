"""The page behind a sign-in link: whose account, and one button."""

from __future__ import annotations

from lib.pages.page import Page, render


def sign_in(account: str, action: str) -> Page:
    """Return the page that asks before a link is used up.

    Args:
        account: Whose account it is, such as an address.
        action: Where the button posts to, with nothing in the body. It holds the
            token, so it is never logged.
    """
    return render("sign_in.html", account=account, action=action)
