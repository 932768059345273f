"""Accounts as the API shows them: people, their tokens, and the ways in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.auth.principal import Role
from lib.web.models import ResponseModel, Timestamp


class LinkView(ResponseModel):
    """A link that was just made. It is shown once."""

    url: str
    expires_in: int = Field(description="Seconds.")
    mailed: bool = Field(description="A mail server has taken it, too.")


class SignedInView(ResponseModel):
    """The session is in the cookie."""

    ok: Literal[True]
    redirect_to: Literal["/"]


class Me(ResponseModel):
    """Who calls."""

    user_id: str
    email: str | None
    role: Role = Field(description="What this credential may do.")
    method: str


class TokenView(ResponseModel):
    """An access token, without what it is."""

    id: str
    name: str
    role: Role = Field(description="The most that it gives.")
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="To the minute.")


class NewTokenView(TokenView):
    """A token that was just made. It is shown once."""

    token: str


class UserView(ResponseModel):
    """A person."""

    id: str
    email: str | None
    role: Role
    disabled: bool
    created_at: Timestamp
    last_seen_at: Timestamp | None
