"""AccountStore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lib.role import Role
from lib.storage.account_records import BUILT_IN_USER_ID, Session, SignInLink, User
from lib.storage.ports import (
    MAX_TOKENS,
    AccountStore,
    LastAdmin,
    LinkInvalid,
    SessionAndUser,
    TokenConflict,
    TokenNotFound,
    UserConflict,
    UserNotFound,
)
from tests.contract.samples import Samples
from tests.contract.threads import MANY, together

Invite = Callable[..., User]
ANNA = "anna@example.com"


def disable(user: User) -> User:
    return replace(user, disabled=True)


def having(role: Role) -> Callable[[User], User]:
    return lambda user: replace(user, role=role)


@pytest.fixture
def sign_in(accounts: AccountStore, samples: Samples) -> Callable[..., SessionAndUser]:
    """Make a link and use it."""

    def sign_in(purpose: Any = "invitation", **fields: Any) -> SessionAndUser:
        link = samples.link(purpose, **fields)
        accounts.create_link(link)
        return accounts.use_link(samples.use(link), now=samples.now)

    return sign_in


@pytest.fixture
def invite(sign_in: Callable[..., SessionAndUser]) -> Invite:
    """Make a user by an invitation."""

    def invite(email: str = ANNA, role: Role = Role.MEMBER) -> User:
        user = sign_in(email=email, role=role).user
        assert user is not None
        return user

    return invite


class TestUsers:
    def test_who_uses_an_invitation_is_made(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite(ANNA, Role.ADMIN)

        assert user == User(user.id, ANNA, Role.ADMIN, False, user.created_at, user.created_at)
        assert accounts.get_user(user.id) == accounts.find_user(ANNA) == user

    def test_who_is_not_there(self, accounts: AccountStore, samples: Samples) -> None:
        missing = samples.id("usr")
        assert accounts.find_user(ANNA) is None
        with pytest.raises(UserNotFound):
            accounts.get_user(missing)
        with pytest.raises(UserNotFound):
            accounts.change_user(missing, disable)
        with pytest.raises(UserNotFound):
            accounts.change_user(BUILT_IN_USER_ID, disable)

    def test_users_are_listed_newest_first(self, accounts: AccountStore, invite: Invite) -> None:
        users = [invite(f"{number}@example.com") for number in range(3)]
        page = accounts.list_users(limit=2)
        assert page.rows == (users[2], users[1])
        assert page.next_key == users[1].id
        last = accounts.list_users(limit=2, after=page.next_key)
        assert (last.rows, last.next_key) == ((users[0],), None)

    def test_a_change_that_raises_changes_nothing(
        self, accounts: AccountStore, invite: Invite
    ) -> None:
        user = invite()

        def fail(_user: User) -> User:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            accounts.change_user(user.id, fail)
        assert accounts.get_user(user.id) == user

    @pytest.mark.parametrize("change", [disable, having(Role.MEMBER)])
    def test_the_last_enabled_admin_stays(
        self, accounts: AccountStore, invite: Invite, change: Callable[[User], User]
    ) -> None:
        admin = invite(ANNA, Role.ADMIN)
        invite("ben@example.com")
        disabled = invite("carl@example.com", Role.ADMIN)
        accounts.change_user(disabled.id, disable)

        with pytest.raises(LastAdmin, match=admin.id):
            accounts.change_user(admin.id, change)
        assert accounts.get_user(admin.id) == admin

    def test_admins_that_demote_each_other_at_once_leave_one(
        self, accounts: AccountStore, invite: Invite
    ) -> None:
        admins = [invite(f"{number}@example.com", Role.ADMIN) for number in range(8)]

        answers = together(
            lambda number: accounts.change_user(admins[number].id, having(Role.MEMBER)), 8
        )

        assert [type(each) for each in answers].count(LastAdmin) == 1
        left = [user for user in accounts.list_users(limit=9).rows if user.role is Role.ADMIN]
        assert len(left) == 1

    def test_disabling_ends_sessions_tokens_and_links_of_this_user_only(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        sign_in(email="boss@example.com", role=Role.ADMIN)
        kept: list[bool] = []
        for email in (ANNA, "ben@example.com"):
            session, user = sign_in(email=email, role=Role.ADMIN)
            assert user is not None
            token = samples.token(user.id)
            accounts.create_token(token)
            own = samples.link("sign_in", user_id=user.id)
            again = samples.link(email=email, role=Role.ADMIN)
            made = samples.link(email=f"by-{email}", created_by=user.id)
            for link in (own, again, made):
                accounts.create_link(link)
            if email == ANNA:
                accounts.change_user(user.id, disable)
            links = [accounts.find_link(link.sha256) for link in (own, again, made)]
            kept += [link is not None and not link.revoked for link in links]
            kept += [accounts.find_session(session.sha256) is not None]
            kept += [accounts.find_token(token.sha256) is not None]
        assert kept == [False] * 5 + [True] * 5

    def test_another_role_revokes_links_and_ends_nothing_else(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        session, user = sign_in(email=ANNA)
        assert user is not None
        link = samples.link(email=ANNA)
        accounts.create_link(link)

        accounts.change_user(user.id, having(Role.ADMIN))

        found = accounts.find_session(session.sha256)
        assert found is not None
        assert found.user is not None
        assert found.user.role is Role.ADMIN
        with pytest.raises(LinkInvalid):
            accounts.use_link(samples.use(link), now=samples.now)

    def test_a_change_of_nothing_revokes_nothing(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        link = samples.link(email=ANNA)
        accounts.create_link(link)

        assert accounts.change_user(user.id, lambda same: same) == user
        assert accounts.use_link(samples.use(link), now=samples.now).user is not None


class TestLinks:
    def test_a_link_is_found_as_it_was_made(self, accounts: AccountStore, samples: Samples) -> None:
        links = [
            samples.link("sign_in", user_id=BUILT_IN_USER_ID, binding="b", role=Role.ADMIN),
            samples.link("invitation", email=ANNA, created_by=samples.id("usr")),
            samples.link("admin"),
        ]
        for link in links:
            assert accounts.find_link(link.sha256) is None
            accounts.create_link(link)
            assert accounts.find_link(link.sha256) == link

    def test_a_session_is_what_a_link_gives(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        link = samples.link("sign_in", user_id=user.id, role=Role.ADMIN)
        accounts.create_link(link)
        use, now = samples.use(link), samples.clock.advance(minutes=1)

        made = accounts.use_link(use, now=now)

        expected = Session(
            use.session_sha256, user.id, Role.MEMBER, now, now, use.session_expires_at
        )
        assert made == (expected, replace(user, last_seen_at=now))
        assert accounts.find_session(use.session_sha256) == made
        used = accounts.find_link(link.sha256)
        assert used is not None
        assert used.used_at == now

    def test_of_many_at_once_one_wins(self, accounts: AccountStore, samples: Samples) -> None:
        link = samples.link(email=ANNA)
        accounts.create_link(link)
        uses = [samples.use(link) for _ in range(MANY)]

        answers = together(lambda number: accounts.use_link(uses[number], now=samples.now))

        assert [type(each) for each in answers].count(LinkInvalid) == MANY - 1
        found = [use for use in uses if accounts.find_session(use.session_sha256)]
        assert len(found) == 1
        assert len(accounts.list_users(limit=MANY).rows) == 1

    def test_two_invitations_of_one_address_make_one_user(
        self, accounts: AccountStore, samples: Samples
    ) -> None:
        links = [samples.link(email=ANNA) for _ in range(8)]
        for link in links:
            accounts.create_link(link)
        uses = [samples.use(link) for link in links]

        together(lambda number: accounts.use_link(uses[number], now=samples.now), 8)

        assert len(accounts.list_users(limit=9).rows) == 1
        assert all(accounts.find_session(use.session_sha256) for use in uses)

    @pytest.mark.parametrize("state", ["unknown", "used", "expired", "revoked", "other", "bound"])
    def test_every_link_that_cannot_be_used_is_refused_alike(
        self, accounts: AccountStore, samples: Samples, state: str
    ) -> None:
        changes: dict[str, Any] = {"revoked": {"revoked": True}, "bound": {"binding": "before"}}
        link = samples.link(email=ANNA, **changes.get(state, {}))
        if state != "unknown":
            accounts.create_link(link)
        if state == "used":
            accounts.use_link(samples.use(link), now=samples.now)
        if state == "expired":
            samples.clock.advance(minutes=15)
        purposes = {"sign_in", "admin"} if state == "other" else {"invitation"}
        use = samples.use(link, purposes=frozenset(purposes))
        before = (accounts.list_users(limit=9), accounts.find_link(link.sha256))

        with pytest.raises(LinkInvalid, match="Ask for a new one"):
            accounts.use_link(use, now=samples.now)

        assert accounts.find_session(use.session_sha256) is None
        assert (accounts.list_users(limit=9), accounts.find_link(link.sha256)) == before

    def test_a_user_who_is_disabled_or_has_gone_is_not_signed_in(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        accounts.change_user(user.id, disable)
        by: tuple[dict[str, Any], ...] = ({"user_id": user.id}, {"email": ANNA})
        for fields in by:
            with pytest.raises(UserConflict, match="disabled"):
                accounts.create_link(samples.link(**fields))
        gone = samples.link("sign_in", user_id=samples.id("usr"))
        accounts.create_link(gone)
        with pytest.raises(LinkInvalid):
            accounts.use_link(samples.use(gone), now=samples.now)

    def test_who_may_not_any_more_makes_no_link(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        """Their request may have come in just before."""
        invite("boss@example.com", Role.ADMIN)
        admin = invite(ANNA, Role.ADMIN)
        link = samples.link(email="mate@example.com", created_by=admin.id)
        accounts.change_user(admin.id, having(Role.MEMBER))
        with pytest.raises(UserConflict, match="no administrator any more"):
            accounts.create_link(link)
        own = samples.link("sign_in", user_id=admin.id, created_by=admin.id)
        accounts.create_link(own)
        accounts.change_user(admin.id, disable)
        for refused in (link, replace(own, sha256="0" * 64)):
            with pytest.raises(UserConflict, match="disabled"):
                accounts.create_link(refused)
            assert accounts.find_link(refused.sha256) is None

    def test_an_invitation_does_not_change_a_role(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        early = samples.link(email=ANNA, role=Role.ADMIN)
        accounts.create_link(early)
        user = invite()

        with pytest.raises(UserConflict, match=f"PATCH /auth/users/{user.id}"):
            accounts.create_link(samples.link(email=ANNA, role=Role.ADMIN))
        made = accounts.use_link(samples.use(early), now=samples.now)
        assert made.user is not None
        assert made.user.role is Role.MEMBER

    def test_an_operators_link_makes_its_user_an_admin(
        self, sign_in: Callable[..., SessionAndUser], invite: Invite
    ) -> None:
        member = invite()
        for email, expected in ((ANNA, member.id), ("ben@example.com", None)):
            user = sign_in("admin", email=email, role=Role.ADMIN).user
            assert user is not None
            assert user.role is Role.ADMIN
            assert expected in {None, user.id}

    def test_an_operator_without_an_address_is_the_oldest_enabled_one(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        def operator() -> User:
            user = sign_in("admin", role=Role.ADMIN).user
            assert user is not None
            return user

        sign_in(email=ANNA, role=Role.ADMIN)
        first = operator()
        assert operator().id == first.id
        accounts.change_user(first.id, disable)
        second = operator()
        assert second.id != first.id
        accounts.change_user(first.id, lambda user: replace(user, disabled=False))
        assert operator().id == first.id

    def test_the_built_in_account_is_signed_in_with_the_links_role_and_binding(
        self, accounts: AccountStore, samples: Samples
    ) -> None:
        link = samples.link("sign_in", user_id=BUILT_IN_USER_ID, role=Role.ADMIN, binding="now")
        accounts.create_link(link)

        session, user = accounts.use_link(samples.use(link), now=samples.now)

        assert user is None
        assert (session.user_id, session.role, session.binding) == (
            BUILT_IN_USER_ID,
            Role.ADMIN,
            "now",
        )
        assert accounts.find_session(session.sha256) == (session, None)
        assert accounts.list_users(limit=9).rows == ()


class TestSessions:
    def test_a_session_is_renewed_once_it_is_there(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        session, user = sign_in(email=ANNA)
        assert user is not None
        now = samples.clock.advance(days=2)
        end = now + timedelta(days=7)

        assert accounts.renew_session(session.sha256, now=now, expires_at=end)
        assert not accounts.renew_session("0" * 64, now=now, expires_at=end)
        assert accounts.find_session(session.sha256) == (
            replace(session, renewed_at=now, expires_at=end),
            replace(user, last_seen_at=now),
        )

    def test_a_session_ends(
        self, accounts: AccountStore, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        session, other = sign_in(email=ANNA).session, sign_in(email=ANNA).session
        accounts.delete_session(session.sha256)
        accounts.delete_session(session.sha256)
        assert accounts.find_session(session.sha256) is None
        assert accounts.find_session(other.sha256) is not None

    def test_all_sessions_of_an_owner_end(
        self, accounts: AccountStore, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        sessions = [sign_in(email=ANNA).session for _ in range(3)]
        other = sign_in(email="ben@example.com").session
        assert accounts.delete_sessions(sessions[0].user_id) == 3
        assert accounts.delete_sessions(sessions[0].user_id) == 0
        assert not any(accounts.find_session(session.sha256) for session in sessions)
        assert accounts.find_session(other.sha256) is not None

    def test_their_open_links_end_with_them(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        ada = sign_in(email=ANNA, role=Role.ADMIN).user
        assert ada is not None
        other = samples.link("invitation", email="ben@example.com")
        theirs = [
            samples.link("sign_in", user_id=ada.id),
            samples.link("invitation", email=ANNA, role=Role.ADMIN),
            samples.link("invitation", email="carl@example.com", created_by=ada.id),
        ]
        for link in (other, *theirs):
            accounts.create_link(link)

        accounts.delete_sessions(ada.id)

        for link in theirs:
            with pytest.raises(LinkInvalid):
                accounts.use_link(samples.use(link), now=samples.now)
        accounts.use_link(samples.use(other), now=samples.now)

    def test_so_do_those_of_the_built_in_account(
        self, accounts: AccountStore, samples: Samples
    ) -> None:
        link = samples.link("sign_in", user_id=BUILT_IN_USER_ID, binding="now")
        accounts.create_link(link)
        accounts.delete_sessions(BUILT_IN_USER_ID)
        with pytest.raises(LinkInvalid):
            accounts.use_link(samples.use(link), now=samples.now)


class TestTokens:
    def test_a_token_is_found_by_its_hash_with_its_owner(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        for owner, found in ((user.id, user), (BUILT_IN_USER_ID, None)):
            token = samples.token(owner, binding="b", expires_at=None)
            assert accounts.find_token(token.sha256) is None
            accounts.create_token(token)
            assert accounts.find_token(token.sha256) == (token, found)

    def test_use_is_noted(self, accounts: AccountStore, samples: Samples, invite: Invite) -> None:
        user = invite()
        token = samples.token(user.id)
        accounts.create_token(token)
        now = samples.clock.advance(hours=1)

        accounts.note_token_use(token.id, now=now)
        accounts.note_token_use(samples.id("tok"), now=now)

        expected = (replace(token, last_used_at=now), replace(user, last_seen_at=now))
        assert accounts.find_token(token.sha256) == expected

    def test_tokens_of_one_owner_are_listed_newest_first(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        tokens = [samples.token(user.id) for _ in range(3)]
        for token in (*tokens, samples.token(BUILT_IN_USER_ID)):
            accounts.create_token(token)
        page = accounts.list_tokens(user.id, limit=2)
        assert page.rows == (tokens[2], tokens[1])
        last = accounts.list_tokens(user.id, limit=2, after=page.next_key)
        assert (last.rows, last.next_key) == ((tokens[0],), None)

    def test_only_its_owner_revokes_a_token(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        token = samples.token(invite().id)
        accounts.create_token(token)
        with pytest.raises(TokenNotFound):
            accounts.delete_token(BUILT_IN_USER_ID, token.id)
        accounts.delete_token(token.user_id, token.id)
        assert accounts.find_token(token.sha256) is None
        with pytest.raises(TokenNotFound):
            accounts.delete_token(token.user_id, token.id)

    def test_who_is_disabled_or_has_gone_gets_no_token(
        self, accounts: AccountStore, samples: Samples, invite: Invite
    ) -> None:
        user = invite()
        accounts.change_user(user.id, disable)
        for owner in (user.id, samples.id("usr")):
            with pytest.raises(UserConflict):
                accounts.create_token(samples.token(owner))

    def test_an_owner_has_so_many_tokens_and_no_more_also_at_once(
        self, accounts: AccountStore, samples: Samples
    ) -> None:
        tokens = [samples.token(BUILT_IN_USER_ID) for _ in range(MAX_TOKENS + 7)]
        for token in tokens[:-8]:
            accounts.create_token(token)

        answers = together(lambda number: accounts.create_token(tokens[number - 8]), 8)

        assert [type(each) for each in answers].count(TokenConflict) == 7
        assert len(accounts.list_tokens(BUILT_IN_USER_ID, limit=200).rows) == MAX_TOKENS


class TestHousekeeping:
    def test_what_is_over_goes_in_batches_and_the_rest_stays(
        self, accounts: AccountStore, samples: Samples, sign_in: Callable[..., SessionAndUser]
    ) -> None:
        def kept(hashes: list[str], links: list[SignInLink]) -> tuple[int, int]:
            found = [accounts.find_session(each) or accounts.find_token(each) for each in hashes]
            open_links = [accounts.find_link(link.sha256) for link in links]
            return sum(map(bool, found)), sum(map(bool, open_links))

        session = sign_in(email=ANNA).session
        day = samples.now + timedelta(days=1)
        tokens = [samples.token(BUILT_IN_USER_ID, expires_at=end) for end in (day, day, None)]
        for token in tokens:
            accounts.create_token(token)
        links = [samples.link(email=ANNA) for _ in range(2)]
        for link in links:
            accounts.create_link(link)
        hashes = [session.sha256, *(token.sha256 for token in tokens)]
        assert accounts.delete_expired(now=samples.now, limit=9) == 0

        samples.clock.advance(days=1)
        assert accounts.delete_expired(now=samples.now, limit=1) == 2
        assert accounts.delete_expired(now=samples.now, limit=9) == 3  # with the used link
        assert kept(hashes, links) == (2, 0)
        samples.clock.advance(days=400)
        assert accounts.delete_expired(now=samples.now, limit=9) == 1
        assert kept(hashes, links) == (1, 0)
