"""Whose vote counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lib.auth.principal import LOCAL_USER_ID
from lib.manifest.policies import Approvals, Concurrency, Limits, Retry
from lib.runs.approvals.errors import NotAVoter
from lib.runs.approvals.voters import check_may_vote, names_of, starter_of
from lib.storage.records import RunPolicy, Trigger
from tests.lib.runs.approvals.conftest import voter
from tests.lib.runs.samples import queued_run
from tests.lib.runs.world import KnownPeople

AT = datetime(2026, 1, 1, tzinfo=UTC)


def run_of(by: str | None = "usr_ada", **policy: Any):
    approvals = Approvals(**policy)
    return queued_run(
        AT,
        policy=RunPolicy(Limits(), Retry(), Concurrency(), approvals),
        trigger=Trigger("manual", None, by),
    )


def check(run: Any, who: Any) -> bool:
    people = KnownPeople()
    people.emails["usr_ada"] = "ada@example.com"
    try:
        check_may_vote(run, who, starter=starter_of(run, people))
    except NotAVoter:
        return False
    return True


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (voter("usr_bob"), True),
        (voter("usr_ada"), True),
        (voter(LOCAL_USER_ID, "shared_secret"), True),
        (voter("eve@example.com", "link"), True),
    ],
)
def test_anybody_may_where_the_manifest_says_nothing(who, may):
    assert check(run_of(), who) is may


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (voter("usr_bob"), True),
        (voter("usr_cyd", email="Cyd@Example.com"), True),
        (voter("cyd@example.com", "link", email="cyd@example.com"), True),
        (voter("usr_ada"), False),
        (voter("usr_root", is_admin=True), False),
        (voter(LOCAL_USER_ID, "shared_secret", is_admin=True), False),
    ],
)
def test_only_listed_approvers_may_administrators_included(who, may):
    run = run_of(approvers=("usr_bob", "cyd@example.com"))
    assert check(run, who) is may


class TestNotTheStarter:
    """`allow_self: false`: every way of whoever started the run is closed."""

    run = run_of("usr_ada", allow_self=False)

    @pytest.mark.parametrize(
        "who",
        [
            voter("usr_ada"),
            voter("usr_ada", "token"),
            voter("usr_ada", is_admin=True),
            voter("ada@example.com", "link", email="ada@example.com"),
            voter("usr_other", email="ADA@example.com"),
            voter(LOCAL_USER_ID, "shared_secret"),
            voter(LOCAL_USER_ID, "session", is_admin=True),
            voter(LOCAL_USER_ID, "token"),
            voter(LOCAL_USER_ID, "local", is_admin=True),
        ],
    )
    def test_may_not(self, who):
        assert not check(self.run, who)

    @pytest.mark.parametrize("method", ["session", "token", "link"])
    def test_others_may(self, method):
        assert check(self.run, voter("usr_bob", method))

    def test_a_run_that_the_shared_secret_started_may_be_anybodys(self):
        run = run_of(LOCAL_USER_ID, allow_self=False)
        assert not check(run, voter("usr_bob"))
        assert not check(run, voter("bob@example.com", "link"))
        assert check(run, voter("usr_root", is_admin=True))

    def test_a_clock_is_nobody(self):
        assert check(run_of(None, allow_self=False), voter("usr_ada"))


def test_the_shared_secret_is_no_one_of_several():
    run = run_of(required_approvals=2)
    assert not check(run, voter(LOCAL_USER_ID, "shared_secret"))
    assert not check(run, voter(LOCAL_USER_ID, "session"))
    assert not check(run, voter(LOCAL_USER_ID, "token"))
    assert check(run, voter(LOCAL_USER_ID, "local"))
    assert check(run, voter("usr_bob"))


def test_names_are_compared_without_case():
    assert names_of(("Ada@Example.com", None)) == {"ada@example.com"}


@pytest.mark.parametrize(
    "other",
    ["stra\u00dfe@example.com", "\u017ftrasse@example.com", "strasse\u200b@example.com"],
)
def test_another_mailbox_that_looks_alike_is_no_approvers(other):
    """It can be anybody's."""
    run = run_of(approvers=("Strasse@Example.com", "K@example.com"))
    assert check(run, voter("usr_bob", email="strasse@example.com"))
    assert check(run, voter("usr_bob", email="k@example.com"))
    assert not check(run, voter(other, "link", email=other))
    assert not check(run, voter("usr_bob", email="\u212a@example.com"))


@pytest.mark.parametrize(
    "starter", ["Stra\u00dfe@example.com", "\u017ftrasse@example.com", "STRASSE@example.com"]
)
def test_whoever_started_a_run_may_not_vote_as_one_who_looks_alike(starter):
    run = run_of(starter, allow_self=False)
    assert not check(run, voter("strasse@example.com", "link", email="strasse@example.com"))


def test_an_address_composed_otherwise_is_the_same_persons():
    run = run_of("e\u0301va@example.com", allow_self=False)
    assert not check(run, voter("usr_eva", email="\u00c9va@example.com"))
    approved_by = run_of(approvers=("E\u0301va@example.com",))
    assert check(approved_by, voter("usr_eva", email="\u00e9va@example.com"))


def test_a_plus_makes_another_address():
    run = run_of(approvers=("ada@example.com",))
    assert not check(run, voter("usr_bob", email="ada+1@example.com"))
