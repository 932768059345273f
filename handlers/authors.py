"""Whom a commit is by: the caller whose request led to it."""

from __future__ import annotations

from lib.auth.principal import Principal
from lib.workspace.workspace import Author


def author_of(principal: Principal) -> Author:
    """Return the author of a commit that a caller causes."""
    email = principal.email or f"{principal.user_id}@floom.local"
    return Author(name=principal.user_id, email=email)
