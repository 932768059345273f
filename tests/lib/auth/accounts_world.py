"""Accounts on a store in memory, under settings that a test changes."""

from __future__ import annotations

from typing import Any

from lib.auth.accounts import Accounts, build_accounts
from lib.auth.built_in import BuiltInAccount
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.clock import ManualClock
from lib.ids import Ids
from lib.secrets.keys import KEY_BYTES, Key
from lib.storage.account_records import User
from lib.storage.memory import MemoryAccountStore

SECRET = "the secret of this server"
KEY = Key(bytes(range(KEY_BYTES)))


class AccountsWorld:
    """One store, and whatever settings look at it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store: Any = MemoryAccountStore()

    def under(
        self, secret: str | None = SECRET, role: Role = Role.MEMBER, *, key: Key = KEY
    ) -> Accounts:
        """Return the accounts under these settings."""
        built_in = BuiltInAccount(secret=secret, shared_secret_role=role, key=key)
        return build_accounts(self.store, built_in=built_in, clock=self.clock, ids=Ids(self.clock))

    def user(self, email: str = "ada@example.com", role: Role = Role.MEMBER) -> User:
        """Make a user by an invitation."""
        links = self.under(role=Role.ADMIN).links
        links.sign_in(links.make(built_in(Role.ADMIN), email=email, role=role).token)
        user: User = self.store.find_user(email)
        return user

    def cookie(self, caller: Principal, accounts: Accounts | None = None) -> bytes:
        """Sign a caller in by a link of their own; return the cookie's value."""
        links = (accounts or self.under()).links
        made = links.make(caller, email=None, role=None)
        return links.sign_in(made.token).cookie.encode()


def built_in(role: Role = Role.MEMBER) -> Principal:
    """Return somebody who knows the secret."""
    return Principal(LOCAL_USER_ID, role, "shared_secret")


def session_of(user: User) -> Principal:
    """Return a user in their browser."""
    return Principal(user.id, user.role, "session", user.email)
