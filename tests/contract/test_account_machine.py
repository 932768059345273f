"""Whatever is done to accounts in whatever order: every adapter says the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from lib.errors import FloomError
from lib.role import Role
from lib.storage.account_records import BUILT_IN_USER_ID, LinkPurpose, SignInLink, User
from tests.contract.samples import Samples
from tests.contract.stores import BACKENDS, Stores, open_stores

emails = st.sampled_from([None, "a@example.com", "b@example.com"])
roles = st.sampled_from(list(Role))
purposes: st.SearchStrategy[LinkPurpose] = st.sampled_from(["sign_in", "invitation", "admin"])
numbers = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    """People who come, change and leave."""

    @initialize()
    def open(self) -> None:
        self.exit = ExitStack()
        self.samples = Samples()
        self.stores = [
            self.exit.enter_context(open_stores(backend, self.samples.clock))
            for backend in BACKENDS
        ]
        self.links: list[SignInLink] = []
        self.sessions: list[str] = []
        self.tokens: list[tuple[str, str, str]] = []

    @rule(purpose=purposes, email=emails, role=roles, owner=st.none() | numbers, by=numbers)
    def make_a_link(
        self, purpose: LinkPurpose, email: str | None, role: Role, owner: int | None, by: int
    ) -> None:
        user_id = None if owner is None else self._owner(owner)
        link = self.samples.link(
            purpose, user_id=user_id, email=email, role=role, created_by=self._owner(by)
        )
        if self._same(lambda stores: stores.accounts.create_link(link)):
            self.links.append(link)

    @rule(number=numbers)
    def use_a_link(self, number: int) -> None:
        if self.links:
            use = self.samples.use(self.links[-1 - number % len(self.links)])
            if self._same(lambda stores: stores.accounts.use_link(use, now=self.samples.now)):
                self.sessions.append(use.session_sha256)

    @rule(number=numbers, role=st.none() | roles, disabled=st.none() | st.booleans())
    def change_a_user(self, number: int, role: Role | None, disabled: bool | None) -> None:
        def decide(user: User) -> User:
            is_disabled = user.disabled if disabled is None else disabled
            return replace(user, role=role or user.role, disabled=is_disabled)

        self._same(lambda stores: stores.accounts.change_user(self._owner(number), decide))

    @rule(number=numbers, role=roles)
    def make_a_token(self, number: int, role: Role) -> None:
        token = self.samples.token(self._owner(number), role=role)
        if self._same(lambda stores: stores.accounts.create_token(token)):
            self.tokens.append((token.user_id, token.id, token.sha256))

    @rule(number=numbers, other=numbers)
    def revoke_a_token(self, number: int, other: int) -> None:
        if self.tokens:
            _, token_id, _ = self.tokens[-1 - number % len(self.tokens)]
            owner = self._owner(other)
            self._same(lambda stores: stores.accounts.delete_token(owner, token_id))

    @rule(number=numbers)
    def end_sessions(self, number: int) -> None:
        self._same(lambda stores: stores.accounts.delete_sessions(self._owner(number)))

    @rule(minutes=st.sampled_from([1, 16, 8 * 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.samples.clock.advance(minutes=minutes)

    @rule(limit=st.sampled_from([1, 50]))
    def delete_expired(self, limit: int) -> None:
        for stores in self.stores:  # which of those that are over, is the adapter's choice
            while stores.accounts.delete_expired(now=self.samples.now, limit=limit):
                pass

    @invariant()
    def all_adapters_show_the_same(self) -> None:
        self._same(self._shown)

    @invariant()
    def once_there_was_an_enabled_admin_there_is_one(self) -> None:
        users = self._users()
        had = getattr(self, "had_admin", False)
        self.had_admin = any(user.is_enabled_admin for user in users)
        assert self.had_admin or not had

    @invariant()
    def who_is_disabled_has_nothing(self) -> None:
        disabled = {user.id for user in self._users() if user.disabled}
        store = self.stores[0].accounts
        for sha256 in self.sessions:
            session = store.find_session(sha256)
            assert session is None or session.session.user_id not in disabled
        for owner, _, sha256 in self.tokens:
            assert store.find_token(sha256) is None or owner not in disabled

    def teardown(self) -> None:
        if hasattr(self, "exit"):
            self.exit.close()

    def _users(self) -> tuple[User, ...]:
        return self.stores[0].accounts.list_users(limit=200).rows

    def _owner(self, number: int) -> str:
        """Return the built-in account, or one of the newest users."""
        users = self._users()
        return users[(number - 1) % len(users)].id if number and users else BUILT_IN_USER_ID

    def _shown(self, stores: Stores) -> Any:
        accounts = stores.accounts
        return (
            accounts.list_users(limit=200),
            [accounts.find_link(link.sha256) for link in self.links],
            [accounts.find_session(sha256) for sha256 in self.sessions],
            [accounts.find_token(sha256) for _, _, sha256 in self.tokens],
            accounts.list_tokens(BUILT_IN_USER_ID, limit=2),
        )

    def _same(self, ask: Callable[[Stores], object]) -> bool:
        """Ask every adapter; their answers, or errors, are equal. Return whether it went well."""
        answers: list[Any] = []
        for stores in self.stores:
            try:
                answers.append((ask(stores), ""))
            except FloomError as error:
                answers.append((type(error), error.detail))
        assert answers.count(answers[0]) == len(answers), answers
        _, detail = answers[0]
        return not detail


def test_adapters_agree() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=20, stateful_step_count=25, deadline=None)
    )
