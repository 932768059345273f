"""The caller of a request, as far as the rest of the code may know them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lib.role import Role
from lib.storage.account_records import BUILT_IN_USER_ID

__all__ = ["LOCAL_USER_ID", "Method", "Principal", "Role"]

Method = Literal["shared_secret", "local", "token", "session", "run_token"]

# The account of callers who know the shared secret, or need none: local development.
LOCAL_USER_ID = BUILT_IN_USER_ID


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        user_id: `usr_...`, `local-user`, or the run's id for a run token.
        role: At most the account's role.
        method: The kind of credential that decided.
        email: The account's address, where there is one.
        session_until: Where the session that decided has just been renewed: its
            new end. The answer sends the cookie again.
    """

    user_id: str
    role: Role
    method: Method
    email: str | None = None
    session_until: datetime | None = None
