"""Proposals that nobody decided on in time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from lib.runs.approvals.errors import ApprovalConflict
from lib.runs.approvals.expiry import BATCH, SYSTEM_VOTER, Expiry
from lib.runs.approvals.follow_ups import FollowUps
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.ports import StoreUnavailable
from lib.storage.records import Phase, RunChange, RunQuery, RunStatus
from tests.lib.runs.approvals.conftest import Propose, approve, ballot
from tests.lib.runs.world import World


def test_it_is_a_refusal_unless_the_manifest_says_otherwise(world: World, propose: Propose) -> None:
    approval = propose("required: true, expires_after_hours: 1", more="issue_on_failure: true\n")
    world.clock.advance(hours=1, milliseconds=-2)
    assert world.expiry.sweep() == 0
    world.clock.advance(milliseconds=2)
    assert world.expiry.sweep() == 1
    assert world.expiry.sweep() == 0

    ended = world.runs.get(approval.run_id)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "approval_expired"
    expired = world.approvals.get(approval.id)
    assert (expired.status, expired.decided_by) == (ApprovalStatus.EXPIRED, None)
    assert expired.decided_at == world.clock.now()
    assert world.reports.list(limit=9) == []


def test_a_vote_that_comes_too_late_is_refused_before_any_sweep(
    world: World, propose: Propose
) -> None:
    approval = propose()
    world.clock.advance(hours=72)
    for decide in (world.decisions.approve, world.decisions.reject):
        with pytest.raises(ApprovalConflict):
            decide(approval.id, ballot())
    assert world.approvals.get(approval.id).status is ApprovalStatus.EXPIRED
    assert len(world.runs.list(RunQuery(), limit=9).rows) == 1


class TestApprove:
    POLICY = "required: true, on_expire: approve, expires_after_hours: 1"

    def test_the_system_votes(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        world.clock.advance(hours=1)
        world.expiry.sweep()
        decided = world.approvals.get(approval.id)
        assert (decided.status, decided.decided_by) == (ApprovalStatus.APPROVED, SYSTEM_VOTER)
        assert [(vote.voter, vote.method) for vote in decided.votes] == [(SYSTEM_VOTER, "system")]
        follow_up = world.runs.get(decided.follow_up_run_id or "")
        assert (follow_up.phase, follow_up.trigger.by) == (Phase.EXECUTE, SYSTEM_VOTER)

    def test_what_cannot_run_then_is_refused_and_says_why(
        self, world: World, propose: Propose
    ) -> None:
        approval = propose(self.POLICY)
        world.settings.change("gated", lambda each: replace(each, enabled=False))
        world.clock.advance(hours=1)
        world.expiry.sweep()
        error = world.runs.get(approval.run_id).error
        assert error is not None
        assert error.code == "approval_expired"
        assert "disabled" in error.message

    def test_people_who_must_agree_are_not_replaced(self, world: World, propose: Propose) -> None:
        """A manifest that wants both is refused; a policy of an older record may have both."""
        approval = propose(self.POLICY)

        def several(run):
            policy = run.policy.approvals.model_copy(update={"approvers": ("usr_bob",)})
            return replace(run, policy=replace(run.policy, approvals=policy))

        run = world.runs.get(approval.run_id)
        world.runs._runs[run.id] = several(run)
        world.clock.advance(hours=1)
        world.expiry.sweep()
        assert world.approvals.get(approval.id).status is ApprovalStatus.EXPIRED


def test_many_sweep_at_once_and_one_counts(world: World, propose: Propose) -> None:
    approval = propose(TestApprove.POLICY)
    world.clock.advance(hours=1)
    for _ in range(3):
        world.expiry.expire(approval.id)
    assert len(world.runs.list(RunQuery(), limit=9).rows) == 2


def test_a_decision_in_time_stands(world: World, propose: Propose) -> None:
    approval = propose()
    approve(world, approval)
    world.clock.advance(hours=99)
    world.expiry.expire(approval.id)
    assert world.approvals.get(approval.id).status is ApprovalStatus.APPROVED


def test_one_that_cannot_be_read_does_not_stop_the_others(world: World, propose: Propose) -> None:
    first = propose(TestApprove.POLICY)
    second = propose(TestApprove.POLICY)
    damaged = world.approvals.get(first.id)
    gone = replace(damaged.proposal, text=None, sha256="0" * 64)
    world.runs.approvals[first.run_id][first.id] = replace(damaged, proposal=gone)
    world.clock.advance(hours=1)
    world.expiry.sweep()
    assert world.approvals.get(second.id).status is ApprovalStatus.APPROVED
    assert world.approvals.get(first.id).status is ApprovalStatus.EXPIRED


class BrokenFor:
    """A store some of whose approvals cannot be read."""

    def __init__(self, store: Any, broken: set[str]) -> None:
        self._store = store
        self._broken = broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, approval_id: str) -> Approval:
        if approval_id in self._broken:
            raise ValueError("damaged")
        found: Approval = self._store.get(approval_id)
        return found


def test_what_cannot_be_expired_keeps_no_other_waiting(world: World, propose: Propose) -> None:
    """However many there are of it, and whatever is wrong."""
    first = propose("required: true, expires_after_hours: 1")
    run = world.runs.get(first.run_id)
    broken = set()
    for number in range(BATCH + 1):
        twin = replace(first, id=f"apr_broken{number:04}", expires_at=first.requested_at)
        world.runs.change(run.id, partial(RunChange, approval=twin))
        broken.add(twin.id)
    world.clock.advance(hours=1)
    store: Any = BrokenFor(world.approvals, broken)
    expiry = Expiry(
        store=store,
        docket=world.docket,
        runs=world.runs,
        follow_ups=world.follow_ups,
        clock=world.clock,
    )
    assert expiry.sweep() == 1
    assert world.approvals.get(first.id).status is ApprovalStatus.EXPIRED
    assert world.runs.get(run.id).status is RunStatus.FAILED


def test_a_full_disk_is_no_refusal(world: World, propose: Propose) -> None:
    approval = propose("required: true, on_expire: approve, expires_after_hours: 1")
    world.clock.advance(hours=1)

    class FullDisk(FollowUps):
        def execute(self, *_: Any, **__: Any) -> RunChange:
            raise StoreUnavailable("The disk is full.")

    full = FullDisk(
        catalogue=world.catalogue, content=world.content, clock=world.clock, ids=world.ids
    )
    expiry = Expiry(
        store=world.approvals,
        docket=world.docket,
        runs=world.runs,
        follow_ups=full,
        clock=world.clock,
    )
    with pytest.raises(StoreUnavailable):
        expiry.sweep()
    assert world.approvals.get(approval.id).is_pending
    assert world.expiry.sweep() == 1
    assert world.approvals.get(approval.id).status is ApprovalStatus.APPROVED
