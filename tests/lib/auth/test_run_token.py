"""A run's token is good for that run, while it runs, under that claim."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.authenticator import Authenticator
from lib.auth.credentials import RUN_TOKEN_PREFIX, Credentials, bearer_token
from lib.auth.principal import Role
from lib.auth.run_token import RunTokens, mint
from lib.auth.secret_token import SecretToken
from lib.errors import Unauthenticated
from lib.runs import state
from lib.storage.memory import MemoryRunStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunRecord, RunStatus, SandboxReport
from tests.contract.samples import Samples


class Runs:
    """Runs in a store, claimed with a token each time."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.store = MemoryRunStore()
        self.tokens = RunTokens(self.store)

    def started(self) -> tuple[RunRecord, SecretToken]:
        change = self.samples.new()
        self.store.create(change)
        return self.claim(change.run.id)

    def claim(self, run_id: str) -> tuple[RunRecord, SecretToken]:
        token = mint(run_id)
        until = self.samples.now + timedelta(seconds=30)
        started = state.Started("srv", until, "local", SandboxReport(), token.sha256)
        return self.apply(run_id, started), token

    def apply(self, run_id: str, event: state.Event) -> RunRecord:
        now = self.samples.now
        return self.store.change(run_id, lambda run: state.transition(run, event, now))

    def check(self, token: str) -> str:
        return self.tokens.check(token.encode()).user_id


@pytest.fixture
def runs() -> Runs:
    return Runs()


def test_a_running_run_is_known_by_its_token(runs: Runs) -> None:
    run, token = runs.started()

    principal = runs.tokens.check(token.value.encode())

    assert (principal.user_id, principal.role, principal.method) == (
        run.id,
        Role.MEMBER,
        "run_token",
    )


def test_only_the_hash_is_kept(runs: Runs) -> None:
    run, token = runs.started()

    assert run.token_sha256 == hashlib.sha256(token.value.encode()).hexdigest()
    assert token.value not in repr(run)
    assert token.value not in repr(token)


def test_tokens_are_fresh_and_long(runs: Runs) -> None:
    run, _ = runs.started()
    values = {mint(run.id).value for _ in range(100)}

    assert len(values) == 100
    ulid = run.id.removeprefix("run_")
    assert all(value.startswith(f"frt_{ulid}_") and len(value) == 74 for value in values)


@pytest.mark.parametrize(
    "end",
    [
        lambda run: state.NeverStarted(run.fence),
        lambda run: state.Interrupted(run.fence, "gone"),
        lambda run: state.Cancelled(run.fence),
        lambda run: state.Completed(run.fence, run.inputs),
    ],
    ids=["queued again", "failed", "cancelled", "completed"],
)
def test_a_token_ends_with_its_attempt(runs: Runs, end) -> None:
    run, token = runs.started()
    ended = runs.apply(run.id, end(run))

    assert ended.token_sha256 is None
    with pytest.raises(Unauthenticated):
        runs.check(token.value)


def test_the_next_claim_has_a_token_of_its_own(runs: Runs) -> None:
    run, old = runs.started()
    runs.apply(run.id, state.NeverStarted(run.fence))
    again, new = runs.claim(run.id)

    assert again.fence == run.fence + 1
    assert runs.check(new.value) == run.id
    with pytest.raises(Unauthenticated):
        runs.check(old.value)


def test_a_run_that_is_to_be_cancelled_may_still_speak(runs: Runs) -> None:
    run, token = runs.started()
    runs.apply(run.id, state.CancelRequested())

    assert runs.check(token.value) == run.id


def test_the_hash_alone_does_not_let_a_run_in_that_is_not_running(runs: Runs) -> None:
    run, token = runs.started()
    for status in set(RunStatus) - {RunStatus.RUNNING}:
        odd = RunTokens(_One(replace(run, status=status)))
        with pytest.raises(Unauthenticated):
            odd.check(token.value.encode())


class _One:
    """A store of one run."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run

    def get(self, _run_id: str) -> RunRecord:
        return self._run


def test_one_runs_token_is_no_other_runs(runs: Runs) -> None:
    one, token = runs.started()
    other, _ = runs.started()
    forged = token.value.replace(one.id.removeprefix("run_"), other.id.removeprefix("run_"))

    with pytest.raises(Unauthenticated):
        runs.check(forged)
    with pytest.raises(Unauthenticated):
        runs.check(mint(runs.samples.id("run")).value)


@given(st.binary(max_size=90))
def test_no_other_bytes_pass(presented: bytes) -> None:
    runs = Runs()
    runs.started()
    for token in (presented, b"frt_" + presented):
        with pytest.raises(Unauthenticated):
            runs.tokens.check(token)


def test_every_changed_character_is_noticed(runs: Runs) -> None:
    _, token = runs.started()
    for index, character in enumerate(token.value):
        other = "A" if character != "A" else "B"
        with pytest.raises(Unauthenticated):
            runs.check(token.value[:index] + other + token.value[index + 1 :])
    for odd in (token.value + "\n", token.value[:-1], token.value + "x", " " + token.value):
        with pytest.raises(Unauthenticated):
            runs.check(odd)


def test_a_store_that_is_down_is_not_a_bad_token(runs: Runs) -> None:
    class Down:
        def get(self, _run_id: str) -> RunRecord:
            raise StoreUnavailable("down")

    _, token = runs.started()
    with pytest.raises(StoreUnavailable):
        RunTokens(Down()).check(token.value.encode())


@pytest.mark.parametrize("secret", [None, "a secret of 16 characters"])
def test_the_authenticator_asks_whoever_knows_the_prefix(runs: Runs, secret: str | None) -> None:
    authenticator = Authenticator(
        secret=secret,
        shared_secret_role=Role.ADMIN,
        bearers={RUN_TOKEN_PREFIX: runs.tokens.check},
    )
    run, token = runs.started()
    good = token.value.encode()

    for header in (b"Bearer " + good, b"bearer  " + good + b" "):
        credentials = Credentials(authorization=header, shared_secret=b"wrong")
        assert authenticator.authenticate(credentials).user_id == run.id
    for header in (good, b"Basic " + good, b"Bearer fpt_x", b"Bearer frt_", b"Bearer", b""):
        with pytest.raises(Unauthenticated):
            authenticator.authenticate(Credentials(authorization=header))


@pytest.mark.parametrize(
    ("header", "token"),
    [(b"Bearer x", b"x"), (b" BEARER\tx", None), (b"Bearer a b", b"a b"), (b"Basic x", None)],
)
def test_forms_of_the_header(header: bytes, token: bytes | None) -> None:
    assert bearer_token(header) == token
