"""Users: who they are, and what an administrator may change of them."""

from __future__ import annotations

from dataclasses import replace

from lib.auth.principal import LOCAL_USER_ID, Role
from lib.storage.account_records import User
from lib.storage.ports import AccountStore, Page


class Users:
    """The people who have signed in at least once."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    def list(self, *, limit: int, after: str | None) -> Page[User]:
        """Return a page of users, newest first."""
        return self._store.list_users(limit=limit, after=after)

    def change(self, user_id: str, *, role: Role | None, disabled: bool | None) -> User:
        """Change what is given; return the user as they are then.

        Raises:
            UserNotFound: there is no such user; the built-in account is none.
            LastAdmin: nobody would be left who may administer this server.
        """

        def decide(user: User) -> User:
            is_disabled = user.disabled if disabled is None else disabled
            return replace(user, role=role or user.role, disabled=is_disabled)

        return self._store.change_user(user_id, decide)

    def end_sessions(self, user_id: str) -> None:
        """Sign somebody out everywhere; the built-in account, too. Raises UserNotFound."""
        if user_id != LOCAL_USER_ID:
            self._store.get_user(user_id)
        self._store.delete_sessions(user_id)
