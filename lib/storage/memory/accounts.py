"""Accounts in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from lib.storage import account_rules as rules
from lib.storage.account_records import AccessToken, LinkUse, Session, SignInLink, User
from lib.storage.ports import Page, SessionAndUser, TokenAndUser

Row = TypeVar("Row", User, AccessToken)


class MemoryAccountStore:
    """An AccountStore of four dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = _MemoryRows()

    def get_user(self, user_id: str) -> User:
        """Return a user. Raises UserNotFound."""
        with self._lock:
            user = self._rows.user(user_id)
        if user is None:
            raise rules.no_user(user_id)
        return user

    def find_user(self, email: str) -> User | None:
        """Return the user with this address, which must be in its stored form."""
        with self._lock:
            return self._rows.user_of(email)

    def list_users(self, *, limit: int, after: str | None = None) -> Page[User]:
        """Return a page of users, newest first, below id `after`."""
        with self._lock:
            return _page([*self._rows.users.values()], limit, after)

    def change_user(self, user_id: str, decide: Callable[[User], User]) -> User:
        """Replace a user by what `decide` makes of them; return the new one."""
        with self._lock:
            return rules.change_user(self._rows, user_id, decide)

    def create_link(self, link: SignInLink) -> None:
        """Insert a link."""
        with self._lock:
            rules.create_link(self._rows, link)

    def find_link(self, sha256: str) -> SignInLink | None:
        """Return a link, used or not."""
        with self._lock:
            return self._rows.link(sha256)

    def use_link(self, use: LinkUse, *, now: datetime) -> SessionAndUser:
        """Take a link, make its user where there is none, and a session."""
        with self._lock:
            return rules.use_link(self._rows, use, now)

    def find_session(self, sha256: str) -> SessionAndUser | None:
        """Return a session with its user as of now."""
        with self._lock:
            session = self._rows.sessions.get(sha256)
            user = self._rows.user(session.user_id) if session else None
            return SessionAndUser(session, user) if session else None

    def renew_session(self, sha256: str, *, now: datetime, expires_at: datetime) -> bool:
        """Give a session another end and note its user as seen; False if it has gone."""
        with self._lock:
            session = self._rows.sessions.get(sha256)
            if session is None:
                return False
            self._rows.sessions[sha256] = replace(session, renewed_at=now, expires_at=expires_at)
            self._rows.note_seen(session.user_id, now)
            return True

    def delete_session(self, sha256: str) -> None:
        """End a session; idempotent."""
        with self._lock:
            self._rows.sessions.pop(sha256, None)

    def delete_sessions(self, user_id: str) -> int:
        """End all sessions and open links of an owner; return how many sessions there were."""
        with self._lock:
            return rules.end_sessions(self._rows, user_id)

    def create_token(self, token: AccessToken) -> None:
        """Insert an access token."""
        with self._lock:
            rules.create_token(self._rows, token)

    def find_token(self, sha256: str) -> TokenAndUser | None:
        """Return an access token with its owner as of now."""
        with self._lock:
            tokens = self._rows.tokens.values()
            token = next((each for each in tokens if each.sha256 == sha256), None)
            user = self._rows.user(token.user_id) if token else None
            return TokenAndUser(token, user) if token else None

    def list_tokens(
        self, user_id: str, *, limit: int, after: str | None = None
    ) -> Page[AccessToken]:
        """Return a page of an owner's access tokens, newest first, below id `after`."""
        with self._lock:
            tokens = [each for each in self._rows.tokens.values() if each.user_id == user_id]
            return _page(tokens, limit, after)

    def note_token_use(self, token_id: str, *, now: datetime) -> None:
        """Note that a token was used, and its owner seen; nothing happens if it has gone."""
        with self._lock:
            token = self._rows.tokens.get(token_id)
            if token is not None:
                self._rows.tokens[token_id] = replace(token, last_used_at=now)
                self._rows.note_seen(token.user_id, now)

    def delete_token(self, user_id: str, token_id: str) -> None:
        """Revoke an access token of an owner. Raises TokenNotFound."""
        with self._lock:
            token = self._rows.tokens.get(token_id)
            if token is None or token.user_id != user_id:
                raise rules.no_token(token_id)
            del self._rows.tokens[token_id]

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` each of sessions, tokens and links whose time is over."""
        with self._lock:
            rows = self._rows
            return (
                _drop(rows.sessions, now, limit)
                + _drop(rows.tokens, now, limit)
                + _drop(rows.links, now, limit)
            )


class _MemoryRows:
    """The rows, for the rules; the store holds its lock meanwhile.

    The rules check first and write then, so there is nothing to put back.
    """

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.links: dict[str, SignInLink] = {}

    def user(self, user_id: str) -> User | None:
        return self.users.get(user_id)

    def user_of(self, email: str) -> User | None:
        return next((each for each in self.users.values() if each.email == email), None)

    def operator(self) -> User | None:
        admins = (each for each in self.users.values() if each.is_enabled_admin)
        nameless = (each for each in admins if each.email is None)
        return min(nameless, key=lambda each: each.id, default=None)

    def has_other_admin(self, user_id: str) -> bool:
        return any(each.is_enabled_admin and each.id != user_id for each in self.users.values())

    def put_user(self, user: User) -> None:
        self.users[user.id] = user

    def note_seen(self, user_id: str, now: datetime) -> None:
        if user_id in self.users:
            self.users[user_id] = replace(self.users[user_id], last_seen_at=now)

    def link(self, sha256: str) -> SignInLink | None:
        return self.links.get(sha256)

    def put_link(self, link: SignInLink) -> None:
        self.links[link.sha256] = link

    def revoke_links(self, user_id: str, email: str | None) -> None:
        for sha256, link in self.links.items():
            is_for = link.user_id == user_id or (link.email is not None and link.email == email)
            if is_for or link.created_by == user_id:
                self.links[sha256] = replace(link, revoked=True)

    def put_session(self, session: Session) -> None:
        self.sessions[session.sha256] = session

    def end_sessions(self, user_id: str) -> int:
        before = len(self.sessions)
        self.sessions = {k: each for k, each in self.sessions.items() if each.user_id != user_id}
        return before - len(self.sessions)

    def end_access(self, user_id: str) -> None:
        self.end_sessions(user_id)
        self.tokens = {k: each for k, each in self.tokens.items() if each.user_id != user_id}

    def count_tokens(self, user_id: str) -> int:
        return sum(each.user_id == user_id for each in self.tokens.values())

    def put_token(self, token: AccessToken) -> None:
        self.tokens[token.id] = token


def _page(rows: Iterable[Row], limit: int, after: str | None) -> Page[Row]:
    below = [row for row in rows if after is None or row.id < after]
    page = sorted(below, key=lambda row: row.id, reverse=True)[:limit]
    return Page(tuple(page), page[-1].id if len(below) > limit else None)


def _drop(
    rows: dict[str, Session] | dict[str, AccessToken] | dict[str, SignInLink],
    now: datetime,
    limit: int,
) -> int:
    over = [
        key for key, row in rows.items() if row.expires_at is not None and row.expires_at <= now
    ]
    for key in over[:limit]:
        del rows[key]
    return len(over[:limit])
