"""Votes, and what the one that completes them sets off."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lib.errors import Invalid
from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.errors import ApprovalChanged, ApprovalConflict, NotAVoter
from lib.runs.approvals.rulings import MAX_VOTES
from lib.runs.catalogue import WorkerDisabled
from lib.runs.key_use import KeyUse
from lib.runs.lifecycle import MissingSecret
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.documents import APPROVALS
from lib.storage.ports import ApprovalNotFound, IdempotencyKeyReused, RunNotFound
from lib.storage.records import Phase, RunQuery, RunStatus, StoredAnswer, WorkerSettings
from lib.storage.stored import Stored
from tests.contract.fused import Fuse, Killed
from tests.lib.runs.approvals.conftest import PAYLOAD, Propose, approve, ballot, taken, voter
from tests.lib.runs.fake_sandbox import GOOD
from tests.lib.runs.world import World, open_world


def runs_of(world: World) -> list[Any]:
    return [*world.runs.list(RunQuery(), limit=99).rows]


def test_an_approval_ends_the_run_and_queues_the_one_that_acts(
    world: World, propose: Propose
) -> None:
    approval = propose(preview_payload=None)
    rings = world.bell.rings

    outcome = approve(world, approval, reason="Looks good")

    ended = world.runs.get(approval.run_id)
    assert (ended.status, ended.error) == (RunStatus.COMPLETED, None)
    assert outcome == Outcome("approved", ended.id, outcome.follow_up_run_id, 1, 1)
    follow_up = world.runs.get(outcome.follow_up_run_id or "")
    assert (follow_up.status, follow_up.phase) == (RunStatus.QUEUED, Phase.EXECUTE)
    assert (follow_up.worker_sha, follow_up.commit) == (ended.worker_sha, ended.commit)
    assert follow_up.trigger.type == "approval"
    assert (follow_up.trigger.ref, follow_up.trigger.by) == (approval.id, "usr_bob")
    assert (follow_up.parent_run_id, follow_up.effect_key) == (ended.id, approval.id)
    inputs = world.inputs_of(follow_up)
    assert inputs == {"who": "Ada", "decision": "approved", "approved_output": PAYLOAD}
    decided = world.approvals.get(approval.id)
    assert (decided.status, decided.decided_by) == (ApprovalStatus.APPROVED, "usr_bob")
    assert (decided.decided_from, decided.reason) == ("192.0.2.7", "Looks good")
    assert decided.follow_up_run_id == follow_up.id
    assert world.bell.rings == rings + 1
    assert approval.run_id in world.signals.heard


def test_the_execute_phase_acts_and_is_not_gated_again(world: World, propose: Propose) -> None:
    approval = propose()
    outcome = approve(world, approval)
    follow_up = world.claim(world.runs.get(outcome.follow_up_run_id or ""))
    world.sandbox.script = lambda live: live.finish(
        {"status": "success", "outputs": PAYLOAD, "decision_required": {"label": "again"}}
    )
    world.execute(follow_up)
    assert world.status(follow_up) is RunStatus.COMPLETED
    assert world.approvals.list_of_run(follow_up.id) == []


def test_a_payload_is_what_is_proposed(world: World, propose: Propose) -> None:
    payload = {"text": "Only this", "to": ["a"]}
    approval = propose(decision_required={"label": "Send it", "preview_payload": payload})
    outcome = approve(world, approval)
    follow_up = world.runs.get(outcome.follow_up_run_id or "")
    assert world.inputs_of(follow_up)["approved_output"] == payload


def test_an_edit_is_what_is_executed(world: World, propose: Propose) -> None:
    approval = propose()
    outcome = approve(world, approval, edited_output={"text": "Dear Bob", "count": "4"})
    follow_up = world.runs.get(outcome.follow_up_run_id or "")
    assert world.inputs_of(follow_up)["approved_output"] == {"text": "Dear Bob", "count": 4}
    decided = world.approvals.get(approval.id)
    assert decided.proposal_sha256 != approval.proposal_sha256
    assert decided.votes[0].edited
    assert json.loads(world.content.load_json(decided.proposal))["count"] == 4
    assert "Dear Bob" in world.content.load_json(decided.preview)


def test_an_edit_that_does_not_fit_leaves_everything_waiting(
    world: World, propose: Propose
) -> None:
    approval = propose()
    with pytest.raises(Invalid):
        approve(world, approval, edited_output={"count": 4})
    assert world.approvals.get(approval.id) == approval
    assert len(runs_of(world)) == 1


def test_a_reject_ends_the_run_with_the_reason(world: World, propose: Propose) -> None:
    approval = propose(more="issue_on_failure: true\n")
    outcome = taken(world.decisions.reject(approval.id, ballot(reason="Too blunt")))
    ended = world.runs.get(approval.run_id)
    assert outcome == Outcome("rejected", ended.id, None, 0, 1)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert (ended.error.code, ended.error.message) == (
        "approval_rejected",
        "usr_bob rejected it: Too blunt",
    )
    assert world.approvals.get(approval.id).status is ApprovalStatus.REJECTED
    assert len(runs_of(world)) == 1
    assert world.reports.list(limit=9) == [], "people refused it: that is no failure to report"


def test_a_reject_may_ask_for_another_proposal(world: World, propose: Propose) -> None:
    approval = propose()
    outcome = taken(world.decisions.reject(approval.id, ballot(reason="Too blunt", retry=True)))
    again = world.runs.get(outcome.follow_up_run_id or "")
    assert (again.phase, again.trigger.type, again.trigger.ref) == (
        Phase.PROPOSE, "retry", approval.run_id,
    )  # fmt: skip
    assert again.trigger.by == "usr_ada", "whoever started the first one"
    assert world.inputs_of(again) == {
        "who": "Ada",
        "decision": "proposed",
        "review_feedback": {"decision": "rejected", "reason": "Too blunt"},
    }


def test_only_one_decision_counts(world: World, propose: Propose) -> None:
    approval = propose()
    approve(world, approval)
    for call in (world.decisions.approve, world.decisions.reject):
        with pytest.raises(ApprovalConflict):
            call(approval.id, ballot("usr_cyd"))
    assert len(runs_of(world)) == 2


def test_what_is_not_there(world: World, propose: Propose) -> None:
    with pytest.raises(RunNotFound):
        world.decisions.find_of_run("run_0")
    with pytest.raises(ApprovalNotFound):
        world.decisions.approve("apr_0", ballot())
    world.add_worker()
    with pytest.raises(ApprovalConflict):
        world.decisions.find_of_run(world.start().id)


class TestQuorum:
    POLICY = "required: true, required_approvals: 2"

    def test_the_vote_that_completes_it_decides(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        assert approve(world, approval, "usr_bob") == Outcome(
            "pending", approval.run_id, None, 1, 2
        )
        assert world.runs.get(approval.run_id).status is RunStatus.PENDING_APPROVAL
        with pytest.raises(ApprovalConflict, match="usr_bob has voted"):
            approve(world, approval, "usr_bob")
        assert approve(world, approval, "usr_cyd").status == "approved"
        events = [each.data for each in world.runs.list_events(approval.run_id)
                  if each.type == "approval"]  # fmt: skip
        assert [each["votes"]["given"] for each in events] == [0, 1, 2]

    def test_one_person_under_two_names_has_one_vote(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        approve(world, approval, voter=voter("usr_bob", email="Bob@example.com"))
        reader = voter("bob@example.com", email="bob@example.com")
        with pytest.raises(ApprovalConflict):
            approve(world, approval, voter=reader)

    def test_a_vote_says_what_it_is_for(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        with pytest.raises(Invalid) as refused:
            world.decisions.approve(approval.id, ballot())
        assert refused.value.errors[0].pointer == "/proposal_sha256"
        with pytest.raises(ApprovalChanged):
            world.decisions.approve(approval.id, ballot(proposal_sha256="0" * 64))

    def test_an_edit_voids_earlier_votes(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        approve(world, approval, "usr_bob")
        edited = approve(world, approval, "usr_cyd", edited_output={"text": "Other"})
        assert (edited.status, edited.given) == ("pending", 1)
        with pytest.raises(ApprovalChanged):
            approve(world, approval, "usr_dan", proposal_sha256=approval.proposal_sha256)
        assert approve(world, approval, "usr_bob").status == "approved"

    def test_an_edit_back_does_not_revive_a_vote(self, world: World, propose: Propose) -> None:
        """Else one person would vote twice for the same text."""
        approval = propose(self.POLICY)
        approve(world, approval, "usr_bob")
        approve(world, approval, "usr_cyd", edited_output={"text": "Other"})
        back = approve(world, approval, "usr_bob", edited_output=PAYLOAD)
        assert (back.status, back.given) == ("pending", 1)
        with pytest.raises(ApprovalConflict):
            approve(world, approval, "usr_bob")

    def test_the_first_reject_decides(self, world: World, propose: Propose) -> None:
        approval = propose(self.POLICY)
        approve(world, approval, "usr_bob")
        sha256 = approval.proposal_sha256
        world.decisions.reject(approval.id, ballot("usr_cyd", proposal_sha256=sha256))
        assert world.status(world.runs.get(approval.run_id)) is RunStatus.FAILED


class TestSelf:
    POLICY = "required: true, allow_self: false"

    @pytest.mark.parametrize("action", ["approve", "edit", "reject"])
    def test_whoever_started_it_may_not_decide(
        self, world: World, propose: Propose, action: str
    ) -> None:
        world.people.emails["usr_ada"] = "ada@example.com"
        approval = propose(self.POLICY)
        for who in (
            voter("usr_ada"),
            voter("usr_ada", "token"),
            voter("local-user", "shared_secret"),
            voter("ada@example.com", email="ADA@example.com"),
        ):
            cast = Ballot(voter=who, edited_output={"text": "x"} if action == "edit" else None)
            decide = world.decisions.reject if action == "reject" else world.decisions.approve
            with pytest.raises(NotAVoter):
                decide(approval.id, cast)
        assert world.approvals.get(approval.id) == approval

    def test_a_second_proposal_is_not_theirs_to_decide_either(
        self, world: World, propose: Propose
    ) -> None:
        approval = propose(self.POLICY)
        outcome = taken(world.decisions.reject(approval.id, ballot(retry=True)))
        again = world.claim(world.runs.get(outcome.follow_up_run_id or ""))
        world.execute(again)
        (second,) = world.approvals.list_of_run(again.id)
        with pytest.raises(NotAVoter):
            approve(world, second, "usr_ada")


class TestWhatCannotRunNow:
    """The proposal waits on, for when it can."""

    def test_a_disabled_worker(self, world: World, propose: Propose) -> None:
        approval = propose()
        world.settings.change("gated", lambda each: replace(each, enabled=False))
        with pytest.raises(WorkerDisabled):
            approve(world, approval)
        with pytest.raises(WorkerDisabled):
            world.decisions.reject(approval.id, ballot(retry=True))
        assert world.approvals.get(approval.id) == approval
        world.settings.change("gated", lambda _: WorkerSettings())
        assert approve(world, approval).status == "approved"

    def test_a_missing_secret(self, world: World, propose: Propose) -> None:
        world.secrets.put("KEY", "a value of some length", at=world.clock.now())
        approval = propose(more="secrets: [KEY]\n")
        world.secrets.delete("KEY")
        with pytest.raises(MissingSecret):
            approve(world, approval)
        assert world.approvals.get(approval.id) == approval
        world.decisions.reject(approval.id, ballot())

    def test_an_edited_worker_executes_the_tree_that_proposed(
        self, world: World, propose: Propose
    ) -> None:
        approval = propose()
        sha = world.runs.get(approval.run_id).worker_sha
        world.add_worker("gated", "title: [broken\n")
        outcome = approve(world, approval)
        assert world.runs.get(outcome.follow_up_run_id or "").worker_sha == sha


class TestKeys:
    def use(self, digest: str = "d") -> KeyUse[Outcome]:
        def answer(outcome: Outcome) -> StoredAnswer:
            text = json.dumps(outcome.status)
            return StoredAnswer(200, Stored(len(text), text=text), run_id=outcome.run_id)

        return KeyUse("scope", digest, answer)

    def test_a_repetition_is_answered_as_the_first(self, world: World, propose: Propose) -> None:
        approval = propose()
        first = world.decisions.approve(approval.id, ballot(key=self.use()))
        again = world.decisions.approve(approval.id, ballot(key=self.use()))
        assert isinstance(first, Outcome)
        assert isinstance(again, StoredAnswer)
        assert (again.body.text, again.run_id) == ('"approved"', approval.run_id)
        with pytest.raises(IdempotencyKeyReused):
            world.decisions.approve(approval.id, ballot(key=self.use("other")))

    def test_a_refused_vote_leaves_the_key_free(self, world: World, propose: Propose) -> None:
        approval = propose("required: true, approvers: [usr_bob]")
        with pytest.raises(NotAVoter):
            world.decisions.approve(approval.id, ballot("usr_cyd", key=self.use()))
        assert isinstance(world.decisions.approve(approval.id, ballot(key=self.use())), Outcome)


def test_a_cancel_between_the_look_and_the_vote_wins(world: World, propose: Propose) -> None:
    approval = propose()
    lifecycle = world.lifecycle()
    is_first = [True]

    def cancel(step: str) -> None:
        if step == "before decide" and is_first:
            is_first.clear()
            lifecycle.cancel(approval.run_id)

    decisions = world.decisions
    decisions._docket._store = Fuse(between=cancel).protect(world.approvals)
    with pytest.raises(ApprovalConflict):
        decisions.approve(approval.id, ballot())
    assert world.approvals.get(approval.id).status is ApprovalStatus.CANCELLED
    assert len(runs_of(world)) == 1


def test_killed_at_any_step_a_decision_stands_whole_or_not_at_all(
    world: World, propose: Propose
) -> None:
    for steps in range(40):
        approval = propose()
        before = len(runs_of(world))
        decisions, fuse = world.decisions, Fuse(steps)
        decisions._docket._store = fuse.protect(world.approvals)
        decisions._store = decisions._docket._store
        decisions._runs = fuse.protect(world.runs)
        try:
            decisions.approve(approval.id, ballot())
        except Killed:
            pass
        else:
            break
        status = world.approvals.get(approval.id).status
        is_decided = status is ApprovalStatus.APPROVED
        ended = world.runs.get(approval.run_id).status
        assert ended is (RunStatus.COMPLETED if is_decided else RunStatus.PENDING_APPROVAL)
        assert len(runs_of(world)) == before + is_decided
        if not is_decided:
            approve(world, approval)  # by the next life
    else:
        pytest.fail("it never came to its end")


class Decisions(RuleBasedStateMachine):
    """Any order of votes, edits, rejects, cancels and time, beside a simple model."""

    VOTERS = st.sampled_from(["usr_ada", "usr_bob", "usr_cyd", "usr_dan"])

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.opened = open_world(Path(self.folder.name))
        self.world = self.opened.__enter__()
        worker_id = self.world.add_worker(
            "gated",
            "exec: {outputs: [{name: text, type: text}]}\n"
            "approvals: {required: true, required_approvals: 2, allow_self: false}\n",
        )
        self.world.sandbox.script = lambda live: live.finish({**GOOD, "outputs": {"text": "0"}})
        run = self.world.executed(worker_id)
        (self.approval,) = self.world.approvals.list_of_run(run.id)
        self.text = "0"
        self.voters: set[str] = set()
        self.status = ApprovalStatus.PENDING

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(name=VOTERS)
    def approve(self, name: str) -> None:
        fits = self.status is ApprovalStatus.PENDING and name not in {*self.voters, "ada"}
        try:
            outcome = approve(self.world, self.approval, name)
        except ApprovalConflict:
            assert not fits
            return
        assert fits
        self.voters.add(name)
        self._count(outcome)

    @rule(name=VOTERS, text=st.sampled_from("abc"))
    @precondition(lambda self: self.status is ApprovalStatus.PENDING)
    def edit(self, name: str, text: str) -> None:
        if text == self.text:
            return
        outcome = approve(self.world, self.approval, name, edited_output={"text": text})
        self.text, self.voters = text, {name}
        self._count(outcome)

    @rule(name=VOTERS)
    def reject(self, name: str) -> None:
        sha256 = self.world.approvals.get(self.approval.id).proposal_sha256
        try:
            self.world.decisions.reject(self.approval.id, ballot(name, proposal_sha256=sha256))
        except ApprovalConflict:
            assert self.status is not ApprovalStatus.PENDING
            return
        assert self.status is ApprovalStatus.PENDING
        self.status = ApprovalStatus.REJECTED

    @rule()
    @precondition(lambda self: self.status is ApprovalStatus.PENDING)
    def cancel(self) -> None:
        self.world.lifecycle().cancel(self.approval.run_id)
        self.status = ApprovalStatus.CANCELLED

    @rule()
    def expire(self) -> None:
        self.world.clock.advance(hours=73)
        self.world.expiry.sweep()
        if self.status is ApprovalStatus.PENDING:
            self.status = ApprovalStatus.EXPIRED

    def _count(self, outcome: Outcome) -> None:
        assert outcome.given == len(self.voters)
        if len(self.voters) == 2:
            self.status = ApprovalStatus.APPROVED
        assert (outcome.status == "approved") is (self.status is ApprovalStatus.APPROVED)

    @invariant()
    def stores_agree(self) -> None:
        approval = self.world.approvals.get(self.approval.id)
        assert approval.status is self.status
        runs = runs_of(self.world)
        follow_ups = [run for run in runs if run.trigger.type == "approval"]
        assert len(follow_ups) == (self.status is ApprovalStatus.APPROVED)
        if follow_ups:
            inputs = self.world.inputs_of(self.world.runs.get(follow_ups[0].id))
            assert inputs["approved_output"] == {"text": self.text}


Decisions.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestDecisions = Decisions.TestCase


class TestRoom:
    """Votes live on their approval's record, which no store takes in any size."""

    TWO = "required: true, required_approvals: 2"

    def test_a_proposal_cannot_be_edited_for_ever(self, world: World, propose: Propose) -> None:
        approval = propose(self.TWO)
        for number in range(MAX_VOTES - 1):
            edit = {"text": f"number {number}"}
            approve(world, approval, f"usr_{number % 2}", edited_output=edit)
        with pytest.raises(ApprovalConflict, match="edited too often"):
            approve(world, approval, "usr_1", edited_output={"text": "one more"})
        assert len(world.approvals.get(approval.id).votes) == MAX_VOTES - 1

        assert approve(world, approval, "usr_2").status == "approved"  # there is room to agree

    def test_reasons_together_have_a_length(self, world: World, propose: Propose) -> None:
        approval = propose("required: true, required_approvals: 10")
        long = "\x01" * 2_000  # twelve kilobytes as JSON
        approve(world, approval, "usr_0", reason=long)
        approve(world, approval, "usr_1", reason=long)
        with pytest.raises(Invalid) as refused:
            approve(world, approval, "usr_2", reason=long)
        assert [error.pointer for error in refused.value.errors] == ["/reason"]
        approve(world, approval, "usr_2")
        taken(world.decisions.reject(approval.id, against(world, approval, reason=long)))
        rejected = world.approvals.get(approval.id)
        assert rejected.reason == long
        assert len(APPROVALS.encode(rejected)) < 64 * 1024

    def test_ten_plain_reasons_of_full_length_fit(self, world: World, propose: Propose) -> None:
        approval = propose("required: true, required_approvals: 10")
        for number in range(10):
            outcome = approve(world, approval, f"usr_{number}", reason="x" * 2_000)
        assert outcome.status == "approved"


def against(world: World, approval: Approval, **fields: Any) -> Ballot:
    sha = world.approvals.get(approval.id).proposal_sha256
    return ballot("usr_9", proposal_sha256=sha, **fields)


def test_an_account_that_came_after_its_links_vote_is_no_second_voter(
    world: World, propose: Propose
) -> None:
    """Whether or not its credential says the address."""
    approval = propose("required: true, required_approvals: 2")
    approve(world, approval, voter=voter("cyd@example.com", "link", email="cyd@example.com"))
    world.people.emails["usr_cyd"] = "cyd@example.com"
    with pytest.raises(ApprovalConflict, match="has voted"):
        approve(world, approval, voter=voter("usr_cyd", "token"))


def test_an_approver_by_address_may_vote_with_a_token(world: World, propose: Propose) -> None:
    approval = propose("required: true, approvers: [cyd@example.com]")
    world.people.emails["usr_cyd"] = "cyd@example.com"
    assert approve(world, approval, voter=voter("usr_cyd", "token")).status == "approved"
