"""Everything about accounts that the rest of the server is given."""

from __future__ import annotations

from dataclasses import dataclass

from lib.auth.access_tokens import AccessTokens
from lib.auth.built_in import BuiltInAccount
from lib.auth.sessions import Sessions
from lib.auth.sign_in_links import SignInLinks
from lib.auth.users import Users
from lib.clock import Clock
from lib.ids import Ids
from lib.storage.ports import AccountStore


@dataclass(frozen=True)
class Accounts:
    """People, and what lets them in."""

    users: Users
    links: SignInLinks
    sessions: Sessions
    tokens: AccessTokens


def build_accounts(
    store: AccountStore, *, built_in: BuiltInAccount, clock: Clock, ids: Ids
) -> Accounts:
    """Return the accounts of a store."""
    return Accounts(
        users=Users(store),
        links=SignInLinks(store, built_in=built_in, clock=clock, ids=ids),
        sessions=Sessions(store, built_in=built_in, clock=clock),
        tokens=AccessTokens(store, built_in=built_in, clock=clock, ids=ids),
    )
