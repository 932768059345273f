"""ApprovalStore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from lib.clock import to_milliseconds
from lib.storage.approval_records import Approval, ApprovalQuery, ApprovalStatus
from lib.storage.ports import (
    ApprovalNotFound,
    ApprovalStore,
    ClaimKey,
    ClaimStore,
    IdempotencyKeyReused,
    RunExists,
    RunNotFound,
    RunStore,
    Verdict,
)
from lib.storage.records import (
    IdempotencyClaim,
    Ruling,
    RunChange,
    RunEvent,
    RunQuery,
    RunRecord,
    RunStatus,
)
from tests.contract.samples import Samples
from tests.contract.threads import together


class AlreadyDecided(Exception):
    """What a judge raises who comes too late."""


@pytest.fixture
def waiting(runs: RunStore, samples: Samples) -> Callable[..., Approval]:
    """Make a run that waits for an approval."""

    def make(worker_id: str = "hello", **fields: object) -> Approval:
        run = samples.new(worker_id)
        runs.create(run)
        approval = samples.approval(run.run, **fields)

        def propose(current: RunRecord) -> RunChange:
            return RunChange(replace(current, status=RunStatus.PENDING_APPROVAL), approval=approval)

        runs.change(run.run.id, propose)
        return approval

    return make


def approving(
    samples: Samples, follow_up: RunChange | None = None
) -> Callable[[RunRecord, Approval], Ruling]:
    """Return a judge who approves what waits."""

    def judge(run: RunRecord, approval: Approval) -> Ruling:
        if not approval.is_pending:
            raise AlreadyDecided
        decided = replace(approval, status=ApprovalStatus.APPROVED, decided_by="usr_1")
        ended = replace(run, status=RunStatus.COMPLETED, finished_at=samples.now, event_count=2)
        event = RunEvent(2, samples.now, "status", {"status": "completed"})
        return Ruling(RunChange(ended, (event,), approval=decided, follow_up=follow_up))

    return judge


def settling(samples: Samples, claim: IdempotencyClaim) -> Callable[[RunRecord, Approval], Ruling]:
    """Return a judge who approves, and settles a claim with it."""

    def judge(run: RunRecord, approval: Approval) -> Ruling:
        return replace(approving(samples)(run, approval), claim=claim)

    return judge


class TestDeciding:
    def test_everything_stands_together(
        self,
        approvals: ApprovalStore,
        runs: RunStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval, follow_up = waiting(), samples.new("hello")

        verdict = approvals.decide(approval.id, approving(samples, follow_up), now=samples.now)

        assert verdict.change is not None
        assert approvals.get(approval.id).status is ApprovalStatus.APPROVED
        assert runs.get(approval.run_id).status is RunStatus.COMPLETED
        assert runs.get(follow_up.run.id).status is RunStatus.QUEUED
        assert [event.seq for event in runs.list_events(approval.run_id)] == [1, 2]
        assert [event.seq for event in runs.list_events(follow_up.run.id)] == [1]
        totals = runs.totals(now=samples.now)
        assert (totals.queued, totals.pending_approval, totals.finished_7d) == (1, 0, 1)

    def test_a_follow_up_is_not_skipped_for_a_cap(
        self,
        approvals: ApprovalStore,
        runs: RunStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval = waiting()
        runs.create(samples.new("hello"))
        follow_up = samples.new("hello", cap=1, on_limit="skip")
        approvals.decide(approval.id, approving(samples, follow_up), now=samples.now)
        assert runs.get(follow_up.run.id).status is RunStatus.QUEUED

    def test_a_follow_up_that_cannot_be_leaves_everything_as_it_was(
        self,
        approvals: ApprovalStore,
        runs: RunStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval, taken = waiting(), samples.new("hello")
        runs.create(taken)

        with pytest.raises(RunExists):
            approvals.decide(approval.id, approving(samples, taken), now=samples.now)

        assert approvals.get(approval.id) == approval
        assert runs.get(approval.run_id).status is RunStatus.PENDING_APPROVAL
        assert len(runs.list_events(approval.run_id)) == 1

    def test_of_many_at_once_one_decides(
        self,
        approvals: ApprovalStore,
        runs: RunStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval = waiting()
        follow_ups = [samples.new("hello") for _ in range(16)]

        def decide(number: int) -> bool:
            try:
                approvals.decide(
                    approval.id, approving(samples, follow_ups[number]), now=samples.now
                )
            except AlreadyDecided:
                return False
            return True

        assert together(decide, 16).count(True) == 1
        made = runs.list(RunQuery(), limit=99).rows
        assert len(made) == 2

    def test_a_judge_who_says_nothing_changes_nothing(
        self, approvals: ApprovalStore, samples: Samples, waiting: Callable[..., Approval]
    ) -> None:
        approval = waiting()
        verdict = approvals.decide(approval.id, lambda _run, _approval: None, now=samples.now)
        assert verdict == Verdict(None)
        assert approvals.get(approval.id) == approval

    def test_an_unknown_approval(self, approvals: ApprovalStore, samples: Samples) -> None:
        with pytest.raises(ApprovalNotFound):
            approvals.get(samples.id("apr"))
        with pytest.raises(ApprovalNotFound):
            approvals.decide(samples.id("apr"), approving(samples), now=samples.now)


class TestKeys:
    def test_a_repetition_gets_the_first_answer(
        self,
        approvals: ApprovalStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval, key, claim = waiting(), ClaimKey("k", "d"), samples.claim()

        judge = settling(samples, claim)
        assert approvals.decide(approval.id, judge, now=samples.now, key=key).replayed is None
        again = approvals.decide(approval.id, judge, now=samples.now, key=key)

        assert again == Verdict(None, claim.answer)
        with pytest.raises(IdempotencyKeyReused):
            approvals.decide(approval.id, judge, now=samples.now, key=ClaimKey("k", "other"))

    def test_of_many_repetitions_at_once_one_decides_and_all_are_answered(
        self,
        approvals: ApprovalStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval, key, claim = waiting(), ClaimKey("k", "d"), samples.claim()

        judge = settling(samples, claim)

        def decide(_: int) -> Verdict:
            return approvals.decide(approval.id, judge, now=samples.now, key=key)

        verdicts = together(decide, 16)
        decided = [each for each in verdicts if isinstance(each, Verdict) and each.change]
        assert len(decided) == 1
        assert verdicts.count(Verdict(None, claim.answer)) == 15

    def test_a_refused_decision_leaves_the_key_free(
        self,
        approvals: ApprovalStore,
        claims: ClaimStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval = waiting(status=ApprovalStatus.CANCELLED)
        with pytest.raises(AlreadyDecided):
            approvals.decide(
                approval.id, approving(samples), now=samples.now, key=ClaimKey("k", "d")
            )
        assert claims.take(samples.pending(), now=samples.now).answer is None


class TestLists:
    def test_by_status_and_worker_newest_first(
        self, approvals: ApprovalStore, samples: Samples, waiting: Callable[..., Approval]
    ) -> None:
        made = [waiting(worker) for worker in ("a", "b", "a", "b", "a")]
        approvals.decide(made[2].id, approving(samples), now=samples.now)

        def ids(query: ApprovalQuery) -> list[str]:
            found, after = [], None
            while True:
                page = approvals.list(query, limit=2, after=after)
                found += [each.id for each in page.rows]
                after = page.next_key
                if after is None:
                    return found

        pending = ApprovalStatus.PENDING
        assert ids(ApprovalQuery()) == [made[n].id for n in (4, 3, 1, 0)]
        assert ids(ApprovalQuery(status=pending, worker_id="a")) == [made[4].id, made[0].id]
        assert ids(ApprovalQuery(status=ApprovalStatus.APPROVED)) == [made[2].id]
        assert ids(ApprovalQuery(status=pending, worker_id="c")) == []

    def test_what_is_due_and_nothing_else(
        self, approvals: ApprovalStore, samples: Samples, waiting: Callable[..., Approval]
    ) -> None:
        start = samples.now
        late = waiting(expires_at=start + timedelta(hours=2))
        soon = waiting(expires_at=start + timedelta(hours=1))
        waiting(expires_at=start + timedelta(hours=1), status=ApprovalStatus.REJECTED)

        def due(hours: float) -> list[str]:
            return approvals.list_expired(now=start + timedelta(hours=hours), limit=9)

        assert due(0.99) == []
        assert due(1) == [soon.id]
        assert due(3) == [soon.id, late.id]
        assert approvals.list_expired(now=start + timedelta(hours=3), limit=1) == [soon.id]

    def test_they_go_with_their_run(
        self,
        approvals: ApprovalStore,
        runs: RunStore,
        samples: Samples,
        waiting: Callable[..., Approval],
    ) -> None:
        approval = waiting()
        approvals.decide(approval.id, approving(samples), now=samples.now)
        assert approvals.list_of_run(approval.run_id)

        runs.delete([approval.run_id], before=samples.now + timedelta(days=1))

        with pytest.raises(RunNotFound):
            runs.get(approval.run_id)
        with pytest.raises(ApprovalNotFound):
            approvals.get(approval.id)

    def test_times_are_kept_to_the_millisecond(
        self, approvals: ApprovalStore, samples: Samples, waiting: Callable[..., Approval]
    ) -> None:
        approval = waiting()
        found = approvals.get(approval.id)
        assert to_milliseconds(found.expires_at) == to_milliseconds(approval.expires_at)
