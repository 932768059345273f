"""Users: who they are, and what an administrator may change of them."""

from __future__ import annotations

from dataclasses import replace

from lib.auth.email_address import BadAddress, normal_address
from lib.auth.principal import LOCAL_USER_ID, Role
from lib.storage.account_records import User
from lib.storage.ports import AccountStore, Page, UserNotFound


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

    def find_email(self, user_id: str) -> str | None:
        """Return the address of an account, if it has one; the built-in one has none."""
        try:
            return self._store.get_user(user_id).email
        except UserNotFound:
            return None

    def find_user_id(self, email: str) -> str | None:
        """Return the account of an address, any case, if there is one."""
        user = self._find(email)
        return user.id if user else None

    def is_disabled(self, email: str) -> bool:
        """Return whether the account of an address was disabled; False without one."""
        user = self._find(email)
        return user is not None and user.disabled

    def end_sessions(self, user_id: str) -> None:
        """Sign somebody out everywhere; the built-in account, too.

        Their open links end as well, and those that they made. Raises UserNotFound.
        """
        if user_id != LOCAL_USER_ID:
            self._store.get_user(user_id)
        self._store.delete_sessions(user_id)

    def _find(self, email: str) -> User | None:
        try:
            return self._store.find_user(normal_address(email))
        except BadAddress:
            return None
