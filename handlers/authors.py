"""Whom a commit is by: the caller whose request led to it."""

from __future__ import annotations

from lib.auth.principal import Principal, Role
from lib.workspace.worker_source import Writer
from lib.workspace.workspace import Author


def author_of(principal: Principal) -> Author:
    """Return the author of a commit that a caller causes."""
    email = principal.email or f"{principal.user_id}@floom.local"
    return Author(name=principal.user_id, email=email)


def writer_of(principal: Principal) -> Writer:
    """Return what a caller may do to a worker's files."""
    return Writer(author_of(principal), is_admin=principal.role is Role.ADMIN)
