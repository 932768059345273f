"""Records of people, and of what lets them in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from lib.role import Role

# Who knows the shared secret, or needs none. It has no row, so it cannot be changed here.
BUILT_IN_USER_ID: Final = "local-user"

LinkPurpose = Literal["sign_in", "invitation", "admin"]


@dataclass(frozen=True, slots=True)
class User:
    """A person.

    Attributes:
        id: `usr_...`.
        email: Lower case, of no two users; None of an operator made without one.
        role: What they may do, as of now.
        disabled: Nothing lets them in.
        last_seen_at: When they signed in, or used a token or a session, to the
            minute with tokens, to the day with sessions.
    """

    id: str
    email: str | None
    role: Role
    disabled: bool
    created_at: datetime
    last_seen_at: datetime | None = None

    @property
    def is_enabled_admin(self) -> bool:
        """Whether they may administer this server now."""
        return self.role is Role.ADMIN and not self.disabled


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser's cookie stands for.

    Attributes:
        sha256: Of the cookie's value, hex.
        user_id: `usr_...` or the built-in account.
        role: Most that it gives to the built-in account; of a user, theirs counts.
        binding: What a session of the built-in account is bound to.
        renewed_at: When `expires_at` was moved last.
    """

    sha256: str
    user_id: str
    role: Role
    created_at: datetime
    renewed_at: datetime
    expires_at: datetime
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that somebody made for a program.

    Attributes:
        id: `tok_...`.
        sha256: Of the token, hex.
        user_id: Its owner: `usr_...` or the built-in account.
        name: For the owner.
        role: Most that it gives; at most what its owner has at each use.
        expires_at: None: never.
        last_used_at: To the minute.
        binding: What a token of the built-in account is bound to.
    """

    id: str
    sha256: str
    user_id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = None
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link that signs somebody in, once.

    Attributes:
        sha256: Of the link's token, hex.
        purpose: `sign_in` is for the account of `user_id`. `invitation` is for
            whoever has `email`, who is made if missing, with `role`. `admin` is
            the same and makes them an administrator; without an address it is for
            the oldest enabled administrator without one.
        user_id: Whom it signs in, where that is known.
        email: Whom else.
        role: Of a user who is made; of the built-in account's session.
        created_by: Who made it; it ends when they may not any more.
        binding: What a link of the built-in account is bound to.
        revoked: It was ended before its time.
    """

    sha256: str
    purpose: LinkPurpose
    user_id: str | None
    email: str | None
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime
    binding: str | None = None
    used_at: datetime | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class LinkUse:
    """One attempt to use a link.

    Attributes:
        sha256: Of the token that was presented, hex.
        purposes: Those that are meant here.
        session_sha256: Of the session to make, hex; never one that exists.
        session_expires_at: Its end.
        new_user_id: Id of a user who has to be made.
        binding: What the built-in account is bound to at present.
    """

    sha256: str
    purposes: frozenset[LinkPurpose]
    session_sha256: str
    session_expires_at: datetime
    new_user_id: str
    binding: str
