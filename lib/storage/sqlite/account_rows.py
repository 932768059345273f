"""The rows of accounts in SQLite, within one transaction or a read."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from lib.clock import from_milliseconds, to_milliseconds
from lib.role import Role
from lib.storage.account_records import AccessToken, Session, SignInLink, User
from lib.storage.documents import milliseconds
from lib.storage.ports.accounts import SessionAndUser, TokenAndUser

USER = """
SELECT id, email, role, disabled, created_at, last_seen_at
FROM users WHERE id = ?
"""
USER_OF = """
SELECT id, email, role, disabled, created_at, last_seen_at
FROM users INDEXED BY users_by_email WHERE email = ?
"""
OPERATOR = """
SELECT id, email, role, disabled, created_at, last_seen_at FROM users INDEXED BY users_admins
WHERE role = 'admin' AND disabled = 0 AND email IS NULL ORDER BY id LIMIT 1
"""
OTHER_ADMIN = """
SELECT 1 FROM users INDEXED BY users_admins
WHERE role = 'admin' AND disabled = 0 AND id <> ? LIMIT 1
"""
LIST_USERS = """
SELECT id, email, role, disabled, created_at, last_seen_at
FROM users WHERE id < ? ORDER BY id DESC LIMIT ?
"""
_OF_USER = "users.id, email, users.role, disabled, users.created_at, last_seen_at"
# Asked with every request: one statement sees one state, and costs a quarter of a transaction.
SESSION_AND_USER = f"""
SELECT sha256, user_id, sessions.role, sessions.created_at, renewed_at, expires_at, binding,
    {_OF_USER}
FROM sessions LEFT JOIN users ON users.id = user_id WHERE sha256 = ?
"""  # noqa: S608  columns of ours
TOKEN_AND_USER = f"""
SELECT access_tokens.id, sha256, user_id, name, access_tokens.role, access_tokens.created_at,
    expires_at, last_used_at, binding, {_OF_USER}
FROM access_tokens INDEXED BY access_tokens_by_sha256 LEFT JOIN users ON users.id = user_id
WHERE sha256 = ?
"""  # noqa: S608
_USER_COLUMNS = 6
OWNER_OF_TOKEN = "SELECT user_id FROM access_tokens WHERE id = ?"  # noqa: S105
LIST_TOKENS = """
SELECT id, sha256, user_id, name, role, created_at, expires_at, last_used_at, binding
FROM access_tokens INDEXED BY access_tokens_by_user
WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?
"""
COUNT_TOKENS = """
SELECT count(*) FROM access_tokens INDEXED BY access_tokens_by_user WHERE user_id = ?
"""
LINK = """
SELECT sha256, purpose, user_id, email, role, created_by, created_at, expires_at, binding,
used_at, revoked
FROM sign_in_links WHERE sha256 = ?
"""
REVOKE_FOR_USER = """
UPDATE sign_in_links INDEXED BY sign_in_links_by_user SET revoked = 1 WHERE user_id = ?
"""
REVOKE_FOR_EMAIL = """
UPDATE sign_in_links INDEXED BY sign_in_links_by_email SET revoked = 1 WHERE email = ?
"""
REVOKE_BY_MAKER = """
UPDATE sign_in_links INDEXED BY sign_in_links_by_maker SET revoked = 1 WHERE created_by = ?
"""
DELETE_SESSIONS = "DELETE FROM sessions INDEXED BY sessions_by_user WHERE user_id = ?"
DELETE_TOKENS = "DELETE FROM access_tokens INDEXED BY access_tokens_by_user WHERE user_id = ?"
EXPIRED_SESSIONS = """
SELECT sha256 FROM sessions INDEXED BY sessions_by_end
WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
EXPIRED_TOKENS = """
SELECT id FROM access_tokens INDEXED BY access_tokens_by_end
WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
EXPIRED_LINKS = """
SELECT sha256 FROM sign_in_links INDEXED BY sign_in_links_by_end
WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
DELETE_SESSION = "DELETE FROM sessions WHERE sha256 = ?"
DELETE_TOKEN = "DELETE FROM access_tokens WHERE id = ?"  # noqa: S105
_DELETE_LINK = "DELETE FROM sign_in_links WHERE sha256 = ?"
# An update in place: INSERT OR REPLACE would take a row away whose address is the same.
_PUT_USER = """
INSERT INTO users (id, email, role, disabled, created_at, last_seen_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET email = excluded.email, role = excluded.role,
disabled = excluded.disabled, last_seen_at = excluded.last_seen_at
"""
_PUT_LINK = """
INSERT INTO sign_in_links (sha256, purpose, user_id, email, role, created_by, created_at,
expires_at, binding, used_at, revoked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sha256) DO UPDATE SET used_at = excluded.used_at, revoked = excluded.revoked
"""
_PUT_SESSION = """
INSERT INTO sessions (sha256, user_id, role, created_at, renewed_at, expires_at, binding)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PUT_TOKEN = """
INSERT INTO access_tokens (id, sha256, user_id, name, role, created_at, expires_at,
last_used_at, binding)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S105
_NOTE_SEEN = "UPDATE users SET last_seen_at = ? WHERE id = ?"
_RENEW = "UPDATE sessions SET renewed_at = ?, expires_at = ? WHERE sha256 = ? RETURNING user_id"
_NOTE_TOKEN_USE = "UPDATE access_tokens SET last_used_at = ? WHERE id = ? RETURNING user_id"  # noqa: S105


class SqliteAccountRows:
    """The AccountRows of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def user(self, user_id: str) -> User | None:
        """Return a user."""
        row = self._one(USER, user_id)
        return to_user(row) if row else None

    def user_of(self, email: str) -> User | None:
        """Return the user with an address."""
        row = self._one(USER_OF, email)
        return to_user(row) if row else None

    def operator(self) -> User | None:
        """Return the oldest enabled administrator without an address."""
        row = self._one(OPERATOR)
        return to_user(row) if row else None

    def has_other_admin(self, user_id: str) -> bool:
        """Return whether there is an enabled administrator beside this user."""
        return self._one(OTHER_ADMIN, user_id) is not None

    def put_user(self, user: User) -> None:
        """Insert or replace a user."""
        times = (to_milliseconds(user.created_at), milliseconds(user.last_seen_at))
        values = (user.id, user.email, user.role.value, int(user.disabled), *times)
        self._connection.execute(_PUT_USER, values)

    def note_seen(self, user_id: str, now: datetime) -> None:
        """Note when a user was seen."""
        self._connection.execute(_NOTE_SEEN, (to_milliseconds(now), user_id))

    def link(self, sha256: str) -> SignInLink | None:
        """Return a link."""
        row = self._one(LINK, sha256)
        return _to_link(row) if row else None

    def put_link(self, link: SignInLink) -> None:
        """Insert or replace a link."""
        values = (
            link.sha256, link.purpose, link.user_id, link.email, link.role.value, link.created_by,
            to_milliseconds(link.created_at), to_milliseconds(link.expires_at), link.binding,
            milliseconds(link.used_at), int(link.revoked),
        )  # fmt: skip
        self._connection.execute(_PUT_LINK, values)

    def revoke_links(self, user_id: str, email: str | None) -> None:
        """Revoke the links for an account or its address, and those it made."""
        self._connection.execute(REVOKE_FOR_USER, (user_id,))
        self._connection.execute(REVOKE_FOR_EMAIL, (email,))
        self._connection.execute(REVOKE_BY_MAKER, (user_id,))

    def put_session(self, session: Session) -> None:
        """Insert a session."""
        times = map(to_milliseconds, (session.created_at, session.renewed_at, session.expires_at))
        values = (session.sha256, session.user_id, session.role.value, *times, session.binding)
        self._connection.execute(_PUT_SESSION, values)

    def renew_session(self, sha256: str, now: datetime, expires_at: datetime) -> bool:
        """Give a session another end and note its user as seen; False if it has gone."""
        row = self._one(_RENEW, to_milliseconds(now), to_milliseconds(expires_at), sha256)
        if row is not None:
            self.note_seen(row[0], now)
        return row is not None

    def end_sessions(self, user_id: str) -> int:
        """Delete all sessions of an owner."""
        return self._connection.execute(DELETE_SESSIONS, (user_id,)).rowcount

    def end_access(self, user_id: str) -> None:
        """Delete all sessions and access tokens of an owner."""
        self.end_sessions(user_id)
        self._connection.execute(DELETE_TOKENS, (user_id,))

    def owner_of_token(self, token_id: str) -> str | None:
        """Return whose an access token is."""
        row = self._one(OWNER_OF_TOKEN, token_id)
        return row[0] if row else None

    def count_tokens(self, user_id: str) -> int:
        """Return how many access tokens an owner has: at most MAX_TOKENS are counted."""
        return int(self._connection.execute(COUNT_TOKENS, (user_id,)).fetchone()[0])

    def put_token(self, token: AccessToken) -> None:
        """Insert an access token."""
        times = map(milliseconds, (token.created_at, token.expires_at, token.last_used_at))
        values = (
            token.id, token.sha256, token.user_id, token.name, token.role.value, *times,
            token.binding,
        )  # fmt: skip
        self._connection.execute(_PUT_TOKEN, values)

    def note_token_use(self, token_id: str, now: datetime) -> None:
        """Note that a token was used, and its owner seen."""
        row = self._one(_NOTE_TOKEN_USE, to_milliseconds(now), token_id)
        if row is not None:
            self.note_seen(row[0], now)

    def delete_token(self, token_id: str) -> None:
        """Delete an access token."""
        self._connection.execute(DELETE_TOKEN, (token_id,))

    def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete up to `limit` of each kind; return how many went."""
        deleted = 0
        for find, delete in (
            (EXPIRED_SESSIONS, DELETE_SESSION),
            (EXPIRED_TOKENS, DELETE_TOKEN),
            (EXPIRED_LINKS, _DELETE_LINK),
        ):
            keys = self._connection.execute(find, (to_milliseconds(now), limit)).fetchall()
            self._connection.executemany(delete, keys)
            deleted += len(keys)
        return deleted

    def _one(self, statement: str, *values: object) -> Any:
        return self._connection.execute(statement, values).fetchone()


def to_session_and_user(row: tuple[Any, ...]) -> SessionAndUser:
    """Return the values of a row of SESSION_AND_USER."""
    return SessionAndUser(_to_session(row[:-_USER_COLUMNS]), _to_owner(row[-_USER_COLUMNS:]))


def to_token_and_user(row: tuple[Any, ...]) -> TokenAndUser:
    """Return the values of a row of TOKEN_AND_USER."""
    return TokenAndUser(to_token(row[:-_USER_COLUMNS]), _to_owner(row[-_USER_COLUMNS:]))


def _to_owner(row: tuple[Any, ...]) -> User | None:
    return None if row[0] is None else to_user(row)


def to_user(row: Any) -> User:
    """Return the user of a row."""
    user_id, email, role, disabled, created_at, last_seen_at = row
    return User(
        user_id, email, Role(role), bool(disabled), from_milliseconds(created_at), _at(last_seen_at)
    )


def to_token(row: Any) -> AccessToken:
    """Return the access token of a row."""
    token_id, sha256, user_id, name, role, created_at, expires_at, last_used_at, binding = row
    created_at = from_milliseconds(created_at)
    times = (created_at, _at(expires_at), _at(last_used_at))
    return AccessToken(token_id, sha256, user_id, name, Role(role), *times, binding)


def _to_session(row: Any) -> Session:
    sha256, user_id, role, created_at, renewed_at, expires_at, binding = row
    created, renewed, end = map(from_milliseconds, (created_at, renewed_at, expires_at))
    return Session(sha256, user_id, Role(role), created, renewed, end, binding)


def _to_link(row: Any) -> SignInLink:
    sha256, purpose, user_id, email, role, maker, created_at, expires_at, binding, used_at, over = (
        row
    )
    times = (from_milliseconds(created_at), from_milliseconds(expires_at))
    return SignInLink(
        sha256,
        purpose,
        user_id,
        email,
        Role(role),
        maker,
        *times,
        binding,
        _at(used_at),
        bool(over),
    )


def _at(stored: int | None) -> datetime | None:
    return None if stored is None else from_milliseconds(stored)
