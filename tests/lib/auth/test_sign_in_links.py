"""Sign-in links: who may make one for whom, and what it is good for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.email_address import BadAddress
from lib.auth.principal import LOCAL_USER_ID, Role
from lib.errors import Forbidden
from lib.storage.ports import LinkInvalid, UserConflict
from tests.lib.auth.accounts_world import AccountsWorld, built_in, session_of

ADA = "ada@example.com"


@pytest.fixture
def world() -> AccountsWorld:
    return AccountsWorld()


def test_a_member_makes_a_link_for_themselves_and_nobody_else(world: AccountsWorld) -> None:
    user, links = world.user(), world.under().links
    for email in (None, ADA, " ADA@example.com"):
        made = links.make(session_of(user), email=email, role=None)
        assert made.invited is None
        assert links.account_of(made.token) == ADA
    with pytest.raises(Forbidden, match="Ask an administrator"):
        links.make(session_of(user), email="ben@example.com", role=None)
    with pytest.raises(Forbidden):
        links.make(session_of(user), email=ADA, role=Role.ADMIN)


def test_a_token_makes_no_link_for_its_own_user_whatever_it_names(world: AccountsWorld) -> None:
    admin = replace(session_of(world.user(role=Role.ADMIN)), method="token")
    links = world.under().links
    for email, role in ((None, None), (ADA, None), ("ADA@Example.com", Role.ADMIN)):
        with pytest.raises(Forbidden, match="outlive"):
            links.make(admin, email=email, role=role)
    with pytest.raises(Forbidden):
        links.make(replace(built_in(Role.ADMIN), method="token"), email=None, role=None)
    assert links.make(admin, email="ben@example.com", role=None).invited == "ben@example.com"


def test_an_invitation_makes_a_user_and_changes_none(world: AccountsWorld) -> None:
    links, admin = world.under(role=Role.ADMIN).links, built_in(Role.ADMIN)
    links.sign_in(links.make(admin, email=" Ada@Example.COM ", role=Role.ADMIN).token)
    assert world.store.find_user(ADA).role is Role.ADMIN
    assert links.make(admin, email=ADA, role=None).invited == ADA
    with pytest.raises(UserConflict, match="PATCH"):
        links.make(admin, email=ADA, role=Role.MEMBER)


def test_a_link_that_is_looked_at_can_still_be_used_and_then_not_again(
    world: AccountsWorld,
) -> None:
    links = world.under().links
    made = links.make(session_of(world.user()), email=None, role=None)
    assert made.token not in repr(made)
    for _ in range(2):
        assert links.account_of(made.token) == ADA
    assert links.sign_in(made.token).seconds == 604_800
    for use in (links.account_of, links.sign_in):
        with pytest.raises(LinkInvalid):
            use(made.token)


def test_after_fifteen_minutes_it_is_over(world: AccountsWorld) -> None:
    links = world.under().links
    made = links.make(session_of(world.user()), email=None, role=None)
    world.clock.advance(minutes=15)
    for use in (links.account_of, links.sign_in):
        with pytest.raises(LinkInvalid):
            use(made.token)


@pytest.mark.parametrize("email", [None, "ben@example.com"])
def test_what_the_built_in_account_made_ends_with_the_secret(
    world: AccountsWorld, email: str | None
) -> None:
    ours = world.under(role=Role.ADMIN).links
    made = ours.make(built_in(Role.ADMIN), email=email, role=None)
    for secret in ("another secret of a server", None):
        links = world.under(secret, Role.ADMIN).links
        for use in (links.account_of, links.sign_in):
            with pytest.raises(LinkInvalid):
                use(made.token)
    assert ours.sign_in(made.token).cookie.startswith("fse_")


def test_an_invitation_of_the_built_in_account_ends_when_it_may_invite_no_more(
    world: AccountsWorld,
) -> None:
    inviting = world.under(role=Role.ADMIN).links
    made = inviting.make(built_in(Role.ADMIN), email="ada@example.com", role=Role.ADMIN)
    links = world.under(role=Role.MEMBER).links
    for use in (links.account_of, links.sign_in):
        with pytest.raises(LinkInvalid):
            use(made.token)
    assert world.store.find_user("ada@example.com") is None
    assert inviting.sign_in(made.token).role is Role.ADMIN


def test_the_built_in_accounts_own_session_is_of_no_user(world: AccountsWorld) -> None:
    cookie = world.cookie(built_in())
    assert world.under().sessions.check(cookie).user_id == LOCAL_USER_ID
    assert world.store.list_users(limit=9).rows == ()


def test_what_a_disabled_admin_has_begun_is_void(world: AccountsWorld) -> None:
    world.user("boss@example.com", Role.ADMIN)
    admin, links = world.user(role=Role.ADMIN), world.under().links
    made = links.make(session_of(admin), email="mate@example.com", role=Role.ADMIN)
    world.store.change_user(admin.id, lambda each: replace(each, disabled=True))
    with pytest.raises(LinkInvalid):
        links.sign_in(made.token)


@given(st.text(max_size=80))
def test_no_other_text_is_a_link(text: str) -> None:
    links = AccountsWorld().under().links
    for use in (links.account_of, links.sign_in):
        with pytest.raises(LinkInvalid):
            use(text)


def test_an_address_that_is_none_invites_nobody(world: AccountsWorld) -> None:
    with pytest.raises(BadAddress):
        world.under().links.make(built_in(Role.ADMIN), email="ada", role=None)
