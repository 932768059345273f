"""Users, as administrators and approvals see them."""

from __future__ import annotations

import pytest

from lib.auth.principal import LOCAL_USER_ID, Role
from lib.storage.ports import UserNotFound
from tests.lib.auth.accounts_world import AccountsWorld

MISSING = "usr_01jd0000000000000000000000"


def test_only_what_is_given_changes() -> None:
    world = AccountsWorld()
    world.user("boss@example.com", Role.ADMIN)
    users, user = world.under().users, world.user()
    changed = users.change(user.id, role=Role.ADMIN, disabled=None)
    assert (changed.role, changed.disabled) == (Role.ADMIN, False)
    changed = users.change(user.id, role=None, disabled=True)
    assert (changed.role, changed.disabled) == (Role.ADMIN, True)


def test_people_are_known_by_id_and_by_address_in_any_case() -> None:
    world = AccountsWorld()
    users, user = world.under().users, world.user()
    assert users.find_email(user.id) == "ada@example.com"
    assert users.find_user_id(" ADA@Example.com ") == user.id
    for nobody in (LOCAL_USER_ID, MISSING, "ada@example.com"):
        assert users.find_email(nobody) is None
    for nobody in ("ben@example.com", "no address", ""):
        assert users.find_user_id(nobody) is None


def test_nobodys_sessions_cannot_be_ended() -> None:
    with pytest.raises(UserNotFound):
        AccountsWorld().under().users.end_sessions(MISSING)
