"""Accounts in SQLite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from lib.storage import account_rules as rules
from lib.storage.account_records import AccessToken, LinkUse, SignInLink, User
from lib.storage.ports import Page, SessionAndUser, TokenAndUser
from lib.storage.sqlite import account_rows
from lib.storage.sqlite.account_rows import SqliteAccountRows
from lib.storage.sqlite.database import SqliteDatabase

Result = TypeVar("Result")

_ABOVE_ALL_IDS = "~"


class SqliteAccountStore:
    """An AccountStore."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def get_user(self, user_id: str) -> User:
        """Return a user. Raises UserNotFound."""
        user = self._read(lambda rows: rows.user(user_id))
        if user is None:
            raise rules.no_user(user_id)
        return user

    def find_user(self, email: str) -> User | None:
        """Return the user with this address, which must be in its stored form."""
        return self._read(lambda rows: rows.user_of(email))

    def list_users(self, *, limit: int, after: str | None = None) -> Page[User]:
        """Return a page of users, newest first, below id `after`."""
        values = (after or _ABOVE_ALL_IDS, limit + 1)
        found = self._database.read(account_rows.LIST_USERS, values)
        rows = tuple(account_rows.to_user(row) for row in found[:limit])
        return Page(rows, rows[-1].id if len(found) > limit else None)

    def change_user(self, user_id: str, decide: Callable[[User], User]) -> User:
        """Replace a user by what `decide` makes of them; return the new one."""
        return self._write(lambda rows: rules.change_user(rows, user_id, decide))

    def create_link(self, link: SignInLink) -> None:
        """Insert a link."""
        self._write(lambda rows: rules.create_link(rows, link))

    def find_link(self, sha256: str) -> SignInLink | None:
        """Return a link, used or not."""
        return self._read(lambda rows: rows.link(sha256))

    def use_link(self, use: LinkUse, *, now: datetime) -> SessionAndUser:
        """Take a link, make its user where there is none, and a session."""
        return self._write(lambda rows: rules.use_link(rows, use, now))

    def find_session(self, sha256: str) -> SessionAndUser | None:
        """Return a session with its user as of now."""
        rows = self._database.read(account_rows.SESSION_AND_USER, (sha256,))
        return account_rows.to_session_and_user(rows[0]) if rows else None

    def renew_session(self, sha256: str, *, now: datetime, expires_at: datetime) -> bool:
        """Give a session another end and note its user as seen; False if it has gone."""
        return self._write(lambda rows: rows.renew_session(sha256, now, expires_at))

    def delete_session(self, sha256: str) -> None:
        """End a session; idempotent."""
        self._database.write(
            lambda connection: connection.execute(account_rows.DELETE_SESSION, (sha256,))
        )

    def delete_sessions(self, user_id: str) -> int:
        """End all sessions and open links of an owner; return how many sessions there were."""
        return self._write(lambda rows: rules.end_sessions(rows, user_id))

    def create_token(self, token: AccessToken) -> None:
        """Insert an access token."""
        self._write(lambda rows: rules.create_token(rows, token))

    def find_token(self, sha256: str) -> TokenAndUser | None:
        """Return an access token with its owner as of now."""
        rows = self._database.read(account_rows.TOKEN_AND_USER, (sha256,))
        return account_rows.to_token_and_user(rows[0]) if rows else None

    def list_tokens(
        self, user_id: str, *, limit: int, after: str | None = None
    ) -> Page[AccessToken]:
        """Return a page of an owner's access tokens, newest first, below id `after`."""
        values = (user_id, after or _ABOVE_ALL_IDS, limit + 1)
        found = self._database.read(account_rows.LIST_TOKENS, values)
        rows = tuple(account_rows.to_token(row) for row in found[:limit])
        return Page(rows, rows[-1].id if len(found) > limit else None)

    def note_token_use(self, token_id: str, *, now: datetime) -> None:
        """Note that a token was used, and its owner seen; nothing happens if it has gone."""
        self._write(lambda rows: rows.note_token_use(token_id, now))

    def delete_token(self, user_id: str, token_id: str) -> None:
        """Revoke an access token of an owner. Raises TokenNotFound."""

        def operation(rows: SqliteAccountRows) -> None:
            if rows.owner_of_token(token_id) != user_id:
                raise rules.no_token(token_id)
            rows.delete_token(token_id)

        self._write(operation)

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` each of sessions, tokens and links whose time is over."""
        return self._write(lambda rows: rows.delete_expired(now, limit))

    def _read(self, look: Callable[[SqliteAccountRows], Result]) -> Result:
        with self._database.snapshot() as connection:
            return look(SqliteAccountRows(connection))

    def _write(self, operation: Callable[[SqliteAccountRows], Result]) -> Result:
        return self._database.write(lambda connection: operation(SqliteAccountRows(connection)))
