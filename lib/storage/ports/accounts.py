"""People, and what lets them in: sessions, access tokens, sign-in links."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from lib.errors import Conflict, MalformedRequest, NotFound
from lib.storage.account_records import AccessToken, LinkUse, Session, SignInLink, User
from lib.storage.ports.pages import Page

MAX_TOKENS: Final = 100  # of one owner


class UserNotFound(NotFound):
    """No user has this id."""

    code = "user_not_found"


class UserConflict(Conflict):
    """The user is not as the request needs them."""

    code = "user_conflict"


class LastAdmin(Conflict):
    """Nobody would be left who may administer this server."""

    code = "last_admin"


class TokenNotFound(NotFound):
    """The caller has no access token of this id."""

    code = "token_not_found"


class TokenConflict(Conflict):
    """The owner has as many access tokens as anybody may have."""

    code = "token_conflict"


class LinkInvalid(MalformedRequest):
    """A sign-in link is unknown, used, revoked or expired: it is not said which."""

    code = "magic_link_invalid"


class SessionAndUser(NamedTuple):
    """A session and whose it is; None for the built-in account."""

    session: Session
    user: User | None


class TokenAndUser(NamedTuple):
    """An access token and whose it is; None for the built-in account."""

    token: AccessToken
    user: User | None


class AccountStore(Protocol):
    """Users, and what lets them in. Every method is one transaction.

    Secrets come in as SHA-256 and are never seen here. What has expired may be
    returned until it is deleted; callers look at `expires_at` themselves. The
    built-in account is an owner like any other, without a row in `users`.
    """

    def get_user(self, user_id: str) -> User:
        """Return a user. Raises UserNotFound."""
        ...

    def find_user(self, email: str) -> User | None:
        """Return the user with this address, which must be in its stored form."""
        ...

    def list_users(self, *, limit: int, after: str | None = None) -> Page[User]:
        """Return a page of users, newest first, below id `after`."""
        ...

    def change_user(self, user_id: str, decide: Callable[[User], User]) -> User:
        """Replace a user by what `decide` makes of them; return the new one.

        Another role, or disabling, revokes the open links for this user or
        address, and those that they made. Disabling deletes their sessions and
        access tokens as well.

        Raises:
            UserNotFound: there is no such user.
            LastAdmin: no enabled administrator would be left; also where two
                are changed at once.
        """
        ...

    def create_link(self, link: SignInLink) -> None:
        """Insert a link.

        Raises:
            UserConflict: it is an invitation, and the user with its address has
                another role; or whoever it is for, or made it, is disabled; or whoever
                made an invitation is no administrator any more.
        """
        ...

    def find_link(self, sha256: str) -> SignInLink | None:
        """Return a link, used or not."""
        ...

    def use_link(self, use: LinkUse, *, now: datetime) -> SessionAndUser:
        """Take a link, make its user where there is none, and a session.

        Of any number at once one succeeds.

        Raises:
            LinkInvalid: the link is unknown, used, revoked, expired by `now`, for
                another purpose or bound to something else; or its user is disabled.
        """
        ...

    def find_session(self, sha256: str) -> SessionAndUser | None:
        """Return a session with its user as of now."""
        ...

    def renew_session(self, sha256: str, *, now: datetime, expires_at: datetime) -> bool:
        """Give a session another end and note its user as seen; False if it has gone."""
        ...

    def delete_session(self, sha256: str) -> None:
        """End a session; idempotent."""
        ...

    def delete_sessions(self, user_id: str) -> int:
        """End all sessions of an owner; return how many there were.

        In the same transaction it revokes the open links for the owner or their
        address, and those that they made: each would make another session.
        """
        ...

    def create_token(self, token: AccessToken) -> None:
        """Insert an access token.

        Raises:
            UserConflict: its owner has gone or is disabled.
            TokenConflict: its owner has MAX_TOKENS.
        """
        ...

    def find_token(self, sha256: str) -> TokenAndUser | None:
        """Return an access token with its owner as of now."""
        ...

    def list_tokens(
        self, user_id: str, *, limit: int, after: str | None = None
    ) -> Page[AccessToken]:
        """Return a page of an owner's access tokens, newest first, below id `after`."""
        ...

    def note_token_use(self, token_id: str, *, now: datetime) -> None:
        """Note that a token was used, and its owner seen; nothing happens if it has gone."""
        ...

    def delete_token(self, user_id: str, token_id: str) -> None:
        """Revoke an access token of an owner. Raises TokenNotFound."""
        ...

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` each of sessions, tokens and links whose time is over.

        Returns:
            How many went.
        """
        ...
