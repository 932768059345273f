"""Sessions: how long they live, and what they give at each request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lib.auth.principal import Role
from lib.auth.sessions import LIFE, MAX_LIFE, InvalidSession
from lib.secrets.keys import KEY_BYTES, Key
from lib.storage.ports import StoreUnavailable
from tests.lib.auth.accounts_world import AccountsWorld, built_in, session_of


@pytest.fixture
def world() -> AccountsWorld:
    return AccountsWorld()


def test_a_session_ends_after_seven_days_without_use(world: AccountsWorld) -> None:
    cookie = world.cookie(session_of(world.user()))
    world.clock.advance(days=7, milliseconds=-1)
    assert world.under().sessions.check(cookie).method == "session"
    other = world.cookie(session_of(world.user("ben@example.com")))
    world.clock.advance(days=7)
    with pytest.raises(InvalidSession):
        world.under().sessions.check(other)


def test_it_is_renewed_once_a_day_of_use_and_ends_after_thirty(world: AccountsWorld) -> None:
    sessions, began = world.under().sessions, world.clock.now()
    cookie = world.cookie(session_of(world.user()))
    renewed: list[timedelta] = []
    for _ in range(120):
        until = sessions.check(cookie).session_until
        if until is not None:
            assert until == min(world.clock.now() + LIFE, began + MAX_LIFE)
            renewed.append(world.clock.now() - began)
            assert sessions.check(cookie).session_until is None
        world.clock.advance(hours=6)
    days = [hours.total_seconds() / 86_400 for hours in renewed]
    assert days[:3] == [1.25, 2.5, 3.75]
    assert days[-1] < 24.5  # later ones would not move the end
    with pytest.raises(InvalidSession):
        sessions.check(cookie)


def test_a_store_that_cannot_be_written_renews_nothing_and_refuses_nobody(
    world: AccountsWorld,
) -> None:
    cookie = world.cookie(session_of(world.user()))
    world.clock.advance(days=2)
    world.store = _ReadOnly(world.store)
    principal = world.under().sessions.check(cookie)
    assert (principal.method, principal.session_until) == ("session", None)


def test_role_and_whether_somebody_is_disabled_are_read_each_time(world: AccountsWorld) -> None:
    sessions, user = world.under().sessions, world.user()
    cookie = world.cookie(session_of(user))
    assert sessions.check(cookie).role is Role.MEMBER
    world.store.change_user(user.id, lambda each: replace(each, role=Role.ADMIN))
    assert sessions.check(cookie).role is Role.ADMIN
    world.user("boss@example.com", Role.ADMIN)
    world.store.change_user(user.id, lambda each: replace(each, disabled=True))
    with pytest.raises(InvalidSession):
        sessions.check(cookie)


def test_each_sign_in_has_a_cookie_of_its_own_that_ends_alone(world: AccountsWorld) -> None:
    sessions, user = world.under().sessions, world.user()
    first, second = (world.cookie(session_of(user)) for _ in range(2))
    assert first != second
    sessions.end(first)
    sessions.end(b"\xff")
    with pytest.raises(InvalidSession):
        sessions.check(first)
    assert sessions.check(second).user_id == user.id


@pytest.mark.parametrize(
    ("secret", "role", "expected"),
    [
        ("the secret of this server", Role.MEMBER, Role.MEMBER),
        ("  the secret of this server\n", Role.ADMIN, Role.MEMBER),
        ("another secret of a server", Role.ADMIN, None),
        (None, Role.MEMBER, None),
    ],
)
def test_a_session_of_the_built_in_account_is_as_good_as_its_secret(
    world: AccountsWorld, secret: str | None, role: Role, expected: Role | None
) -> None:
    cookie = world.cookie(built_in(Role.MEMBER))
    sessions = world.under(secret, role).sessions
    if expected is None:
        with pytest.raises(InvalidSession):
            sessions.check(cookie)
    else:
        assert sessions.check(cookie).role is expected


def test_an_admins_session_of_the_built_in_account_ends_as_a_member_where_the_secret_is_one(
    world: AccountsWorld,
) -> None:
    cookie = world.cookie(built_in(Role.ADMIN), world.under(role=Role.ADMIN))
    assert world.under(role=Role.ADMIN).sessions.check(cookie).role is Role.ADMIN
    assert world.under(role=Role.MEMBER).sessions.check(cookie).role is Role.MEMBER
    with pytest.raises(InvalidSession):  # the key is another, so the bindings are
        world.under(role=Role.ADMIN, key=Key(bytes(KEY_BYTES))).sessions.check(cookie)


def test_a_session_of_an_open_server_is_refused_once_it_has_a_secret(world: AccountsWorld) -> None:
    cookie = world.cookie(built_in(Role.ADMIN), world.under(None))
    assert world.under(None).sessions.check(cookie).role is Role.ADMIN
    with pytest.raises(InvalidSession):
        world.under().sessions.check(cookie)


class _ReadOnly:
    """A store whose disk is full."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("find", "get", "list")):
            return getattr(self._store, name)
        return self._refuse

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise StoreUnavailable("The disk is full.")
