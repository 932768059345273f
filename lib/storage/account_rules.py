"""What holds of accounts: the rules that every AccountStore follows.

Each function is one transaction's work on rows that an adapter lends, which
puts all of it back where the function raises.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from lib.role import Role
from lib.storage.account_records import (
    BUILT_IN_USER_ID,
    AccessToken,
    LinkPurpose,
    LinkUse,
    Session,
    SignInLink,
    User,
)
from lib.storage.ports import (
    MAX_TOKENS,
    LastAdmin,
    LinkInvalid,
    SessionAndUser,
    TokenConflict,
    TokenNotFound,
    UserConflict,
    UserNotFound,
)


class AccountRows(Protocol):
    """The rows of one transaction, as the rules need them."""

    def user(self, user_id: str) -> User | None:
        """Return a user."""
        ...

    def user_of(self, email: str) -> User | None:
        """Return the user with an address."""
        ...

    def operator(self) -> User | None:
        """Return the oldest enabled administrator without an address."""
        ...

    def has_other_admin(self, user_id: str) -> bool:
        """Return whether there is an enabled administrator beside this user."""
        ...

    def put_user(self, user: User) -> None:
        """Insert or replace a user."""
        ...

    def link(self, sha256: str) -> SignInLink | None:
        """Return a link."""
        ...

    def put_link(self, link: SignInLink) -> None:
        """Insert or replace a link."""
        ...

    def revoke_links(self, user_id: str, email: str | None) -> None:
        """Revoke the links for an account or its address, and those it made."""
        ...

    def put_session(self, session: Session) -> None:
        """Insert a session."""
        ...

    def end_sessions(self, user_id: str) -> int:
        """Delete all sessions of an owner; return how many there were."""
        ...

    def end_access(self, user_id: str) -> None:
        """Delete all sessions and access tokens of an owner."""
        ...

    def count_tokens(self, user_id: str) -> int:
        """Return how many access tokens an owner has."""
        ...

    def put_token(self, token: AccessToken) -> None:
        """Insert an access token."""
        ...


def change_user(rows: AccountRows, user_id: str, decide: Callable[[User], User]) -> User:
    """Replace a user. Raises UserNotFound, LastAdmin."""
    before = rows.user(user_id)
    if before is None:
        raise no_user(user_id)
    after = decide(before)
    if before.is_enabled_admin and not after.is_enabled_admin:
        _check_another_is_left(rows, user_id)
    _write_change(rows, before, after)
    return after


def create_link(rows: AccountRows, link: SignInLink) -> None:
    """Insert a link. Raises UserConflict."""
    _check_may_make(rows.user(link.created_by), link)
    user = _meant(rows, link)
    if user is not None:
        _check_is_enabled(user)
        if link.purpose == "invitation" and user.role is not link.role:
            raise UserConflict(
                f"{user.email} has the role {user.role.value} already; a link does not change it. "
                f"Use PATCH /auth/users/{user.id}."
            )
    rows.put_link(link)


def use_link(rows: AccountRows, use: LinkUse, now: datetime) -> SessionAndUser:
    """Take a link, make its user where there is none, and a session. Raises LinkInvalid."""
    link = rows.link(use.sha256)
    if link is None or not is_open(link, use.purposes, use.binding, now):
        raise link_invalid()
    user = _user_to_sign_in(rows, link, use, now)
    owner, role = (user.id, user.role) if user else (BUILT_IN_USER_ID, link.role)
    binding = None if user else link.binding
    session = Session(
        use.session_sha256, owner, role, now, now, use.session_expires_at, binding=binding
    )
    rows.put_link(replace(link, used_at=now))
    rows.put_session(session)
    return SessionAndUser(session, user)


def end_sessions(rows: AccountRows, user_id: str) -> int:
    """End all sessions of an owner, and the open links that would make new ones.

    Whoever had a session that was not theirs can have made a link with it.
    """
    user = rows.user(user_id)
    rows.revoke_links(user_id, user.email if user else None)
    return rows.end_sessions(user_id)


def create_token(rows: AccountRows, token: AccessToken) -> None:
    """Insert an access token. Raises UserConflict, TokenConflict."""
    if token.user_id != BUILT_IN_USER_ID:
        owner = rows.user(token.user_id)
        if owner is None:
            raise UserConflict(f"There is no user {token.user_id} any more.")
        _check_is_enabled(owner)
    if rows.count_tokens(token.user_id) >= MAX_TOKENS:
        raise TokenConflict(f"You have {MAX_TOKENS} access tokens; revoke one that is not used.")
    rows.put_token(token)


def is_open(
    link: SignInLink, purposes: frozenset[LinkPurpose], binding: str, now: datetime
) -> bool:
    """Return whether a link may be used now, as far as its own record tells."""
    if link.used_at is not None or link.revoked or link.expires_at <= now:
        return False
    is_bound = link.binding is None or hmac.compare_digest(link.binding, binding)
    return link.purpose in purposes and is_bound


def no_user(user_id: str) -> UserNotFound:
    """Return the error that says who is not there."""
    return UserNotFound(f"There is no user {user_id}; GET /auth/users lists them.")


def no_token(token_id: str) -> TokenNotFound:
    """Return the error that says what is not there."""
    return TokenNotFound(f"You have no access token {token_id}; GET /auth/tokens lists yours.")


def link_invalid() -> LinkInvalid:
    """Return the one error of all links that cannot be used."""
    return LinkInvalid(
        "The sign-in link is not valid: it was used, is older than 15 minutes or was withdrawn. "
        "Ask for a new one."
    )


def _check_another_is_left(rows: AccountRows, user_id: str) -> None:
    if not rows.has_other_admin(user_id):
        raise LastAdmin(
            f"{user_id} is the last enabled administrator; make another one first: "
            "PATCH /auth/users/{user_id} with the role admin."
        )


def _write_change(rows: AccountRows, before: User, after: User) -> None:
    rows.put_user(after)
    is_disabled_now = after.disabled and not before.disabled
    if is_disabled_now or after.role is not before.role:
        rows.revoke_links(after.id, after.email)
    if is_disabled_now:
        rows.end_access(after.id)


def _check_may_make(maker: User | None, link: SignInLink) -> None:
    """Check again, in this transaction, what was checked when the request came in."""
    if maker is None:
        return  # the built-in account, or the operator
    _check_is_enabled(maker)
    if link.purpose == "invitation" and maker.role is not Role.ADMIN:
        raise UserConflict(f"{maker.email or maker.id} is no administrator any more.")


def _check_is_enabled(user: User) -> None:
    if user.disabled:
        raise UserConflict(
            f"{user.email or user.id} is disabled; an administrator enables them with "
            f"PATCH /auth/users/{user.id}."
        )


def _meant(rows: AccountRows, link: SignInLink) -> User | None:
    """Return the user whom a link is for, if there is one yet."""
    if link.user_id is not None:
        return rows.user(link.user_id)
    if link.email is not None:
        return rows.user_of(link.email)
    return rows.operator()


def _user_to_sign_in(
    rows: AccountRows, link: SignInLink, use: LinkUse, now: datetime
) -> User | None:
    """Return the user as they are from now on; None for the built-in account."""
    if link.user_id == BUILT_IN_USER_ID:
        return None
    known = _meant(rows, link)
    if known is None and link.user_id is not None:
        raise link_invalid()
    before = known or User(use.new_user_id, link.email, link.role, disabled=False, created_at=now)
    if before.disabled:
        raise link_invalid()
    role = Role.ADMIN if link.purpose == "admin" else before.role
    after = replace(before, role=role, last_seen_at=now)
    _write_change(rows, before, after)
    return after
