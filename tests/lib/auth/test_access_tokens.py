"""Access tokens: what they give, and what they cannot make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib.auth.access_tokens import NewToken
from lib.auth.principal import Principal, Role
from lib.errors import Forbidden, Unauthenticated
from lib.storage.ports import MAX_TOKENS, StoreUnavailable, TokenConflict
from tests.lib.auth.accounts_world import AccountsWorld, built_in, session_of


@pytest.fixture
def world() -> AccountsWorld:
    return AccountsWorld()


def make(world: AccountsWorld, owner: Principal, **given: Any) -> NewToken:
    """Make a token for 90 days."""
    return world.under().tokens.create(owner, "ci", **({"role": None, "days": 90} | given))


def presented(made: NewToken) -> bytes:
    return made.secret.value.encode()


def test_a_token_is_stored_as_its_hash_and_never_shown_by_accident(world: AccountsWorld) -> None:
    made = make(world, session_of(world.user()))
    assert made.secret.value.startswith("fpt_")
    assert len(made.secret.value) == 4 + 43
    assert made.secret.value not in repr(made)
    assert world.store.find_token(made.secret.sha256).token == made.record
    assert made.secret.value not in repr(made.record)


@pytest.mark.parametrize(
    ("owner", "wanted", "now", "expected"),
    [
        (Role.MEMBER, None, Role.MEMBER, Role.MEMBER),
        (Role.MEMBER, None, Role.ADMIN, Role.MEMBER),
        (Role.ADMIN, None, Role.ADMIN, Role.ADMIN),
        (Role.ADMIN, None, Role.MEMBER, Role.MEMBER),
        (Role.ADMIN, Role.MEMBER, Role.ADMIN, Role.MEMBER),
    ],
)
def test_it_gives_at_most_its_role_and_its_owners_present_one(
    world: AccountsWorld, owner: Role, wanted: Role | None, now: Role, expected: Role
) -> None:
    world.user("boss@example.com", Role.ADMIN)
    user = world.user(role=owner)
    made = make(world, session_of(user), role=wanted)
    world.store.change_user(user.id, lambda each: replace(each, role=now))
    principal = world.under().tokens.check(presented(made))
    assert principal == Principal(user.id, expected, "token", user.email)


def test_nobody_makes_a_token_above_their_role(world: AccountsWorld) -> None:
    with pytest.raises(Forbidden, match="at most your own, member"):
        make(world, session_of(world.user()), role=Role.ADMIN)


def test_a_token_makes_no_token(world: AccountsWorld) -> None:
    user = world.user("boss@example.com", Role.ADMIN)
    for caller in (session_of(user), built_in(Role.ADMIN)):
        with pytest.raises(Forbidden, match="outlive"):
            make(world, replace(caller, method="token"))


def test_it_expires_on_time_or_never(world: AccountsWorld) -> None:
    user = session_of(world.user())
    mortal, immortal = make(world, user, days=1), make(world, user, days=None)
    world.clock.advance(days=1, milliseconds=-1)
    assert world.under().tokens.check(presented(mortal)).method == "token"
    world.clock.advance(milliseconds=1)
    with pytest.raises(Unauthenticated):
        world.under().tokens.check(presented(mortal))
    world.clock.advance(days=10_000)
    assert world.under().tokens.check(presented(immortal)).method == "token"


def test_what_is_no_token_is_refused(world: AccountsWorld) -> None:
    made = presented(make(world, session_of(world.user())))
    for other in (b"", b"fpt_", made[:-1], made + b"A", made + b"\n", b"fse_" + made[4:], b"\xff"):
        with pytest.raises(Unauthenticated):
            world.under().tokens.check(other)


def test_use_is_noted_once_a_minute_and_a_full_disk_refuses_nobody(world: AccountsWorld) -> None:
    counting = world.store = _Counting(world.store)
    token = presented(make(world, session_of(world.user())))
    for _ in range(5):
        world.under().tokens.check(token)
        world.clock.advance(seconds=29)
    assert counting.notes == 2  # at 0 and at 87 seconds
    counting.is_full = True
    world.clock.advance(minutes=1)
    assert world.under().tokens.check(token).method == "token"


def test_a_token_of_the_built_in_account_is_as_good_as_its_secret(world: AccountsWorld) -> None:
    token = presented(make(world, built_in()))
    assert world.under().tokens.check(token).role is Role.MEMBER
    assert world.under(role=Role.ADMIN).tokens.check(token).role is Role.MEMBER
    for secret in ("another secret of a server", None):
        with pytest.raises(Unauthenticated):
            world.under(secret).tokens.check(token)


def test_there_are_only_so_many(world: AccountsWorld) -> None:
    for _ in range(MAX_TOKENS):
        make(world, built_in())
    with pytest.raises(TokenConflict, match="revoke"):
        make(world, built_in())


class _Counting:
    """A store that counts notes of use, and whose disk may be full."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.notes = 0
        self.is_full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def note_token_use(self, token_id: str, **given: Any) -> None:
        self.notes += 1
        if self.is_full:
            raise StoreUnavailable("The disk is full.")
        self._store.note_token_use(token_id, **given)
