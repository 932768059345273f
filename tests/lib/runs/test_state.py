"""The state machine: every sequence of events keeps its promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lib.clock import ManualClock
from lib.runs import state
from lib.storage.ports import StaleFence
from lib.storage.records import RunError, RunRecord, RunStatus, SandboxReport, Wait
from lib.storage.stored import Stored
from tests.lib.runs.samples import approval, artifact, queued_run, retrying

VALUE = Stored(2, text="{}")
CODES = ["timeout", "execution_error", "interrupted", "output_invalid", "missing_result"]


class Runs(RuleBasedStateMachine):
    """Applies any event at any time, with right and with old fences."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        policy = replace(retrying(attempts=3), issue_on_failure=True)
        self.run = queued_run(self.clock.now(), policy=policy)
        self.events = list(state.first_change(self.run).events)
        self.run = state.first_change(self.run).run
        self.fences = [0]

    def apply(self, event: state.Event) -> None:
        before = self.run
        stale = getattr(event, "fence", before.fence) != before.fence
        allowed = before.status in state.ALLOWED[type(event)]
        try:
            change = state.transition(before, event, self.clock.now())
        except (state.RunStateConflict, StaleFence):
            assert stale or not allowed
            return
        assert allowed
        assert not stale
        assert change.reports_failure is (change.run.status is RunStatus.FAILED)
        self.run = change.run
        self.events += change.events
        self.fences.append(change.run.fence)

    @rule(seconds=st.integers(0, 100_000))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule()
    def start(self) -> None:
        until = self.clock.now() + timedelta(seconds=30)
        self.apply(state.Started("srv", until, "local", SandboxReport()))

    @rule(late=st.booleans())
    def complete(self, late: bool) -> None:
        self.apply(state.Completed(self.run.fence - late, VALUE))

    @rule(late=st.booleans(), code=st.sampled_from(CODES))
    def fail(self, late: bool, code: str) -> None:
        self.apply(state.Failed(self.run.fence - late, RunError(code, "words")))

    @rule(late=st.booleans())
    def interrupt(self, late: bool) -> None:
        self.apply(state.Interrupted(self.run.fence - late, "words"))

    @rule(late=st.booleans())
    def give_back(self, late: bool) -> None:
        self.apply(state.NeverStarted(self.run.fence - late))

    @rule(late=st.booleans())
    def end_by_cancel(self, late: bool) -> None:
        self.apply(state.Cancelled(self.run.fence - late))

    @rule()
    def request_cancel(self) -> None:
        self.apply(state.CancelRequested())

    @precondition(lambda self: self.run.status is RunStatus.RUNNING)
    @rule()
    def propose(self) -> None:
        self.apply(state.Proposed(self.run.fence, approval(self.run, self.clock.now()), VALUE))

    @invariant()
    def fences_never_go_back(self) -> None:
        assert self.fences == sorted(self.fences)

    @invariant()
    def only_a_running_run_has_a_lease(self) -> None:
        assert (self.run.lease_owner is not None) == (self.run.status is RunStatus.RUNNING)
        assert (self.run.lease_until is not None) == (self.run.status is RunStatus.RUNNING)

    @invariant()
    def only_an_ended_run_has_an_end(self) -> None:
        assert (self.run.finished_at is not None) == self.run.status.is_final

    @invariant()
    def only_a_failed_or_retried_run_has_an_error(self) -> None:
        if self.run.status in (RunStatus.COMPLETED, RunStatus.RUNNING):
            assert self.run.error is None
        if self.run.status is RunStatus.FAILED:
            assert self.run.error is not None

    @invariant()
    def attempts_stay_within_the_policy(self) -> None:
        assert 1 <= self.run.attempt <= self.run.policy.retry.max_attempts

    @invariant()
    def events_are_numbered_without_gaps(self) -> None:
        assert [event.seq for event in self.events] == list(range(1, len(self.events) + 1))
        assert self.run.event_count == len(self.events)


Runs.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRuns = Runs.TestCase


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def started(clock: ManualClock, **policy: int) -> RunRecord:
    run = queued_run(clock.now(), policy=retrying(**policy))
    until = clock.now() + timedelta(seconds=30)
    return state.transition(
        run, state.Started("srv", until, "local", SandboxReport()), clock.now()
    ).run


def test_a_final_run_takes_no_event(clock: ManualClock) -> None:
    run = started(clock)
    done = state.transition(run, state.Completed(run.fence, VALUE), clock.now()).run
    with pytest.raises(state.RunStateConflict, match="completed"):
        state.transition(done, state.CancelRequested(), clock.now())


def test_late_executor_cannot_overwrite_a_recovered_run(clock: ManualClock) -> None:
    first = started(clock, attempts=2)
    queued = state.transition(first, state.Interrupted(first.fence, "gone"), clock.now()).run
    again = state.transition(
        queued, state.Started("other", clock.now(), "local", SandboxReport()), clock.now()
    ).run
    with pytest.raises(StaleFence):
        state.transition(again, state.Completed(first.fence, VALUE), clock.now())


def test_retry_waits_longer_each_time_and_then_fails(clock: ManualClock) -> None:
    run = started(clock, attempts=3)
    waits = []
    for _ in range(2):
        failed = state.Failed(run.fence, RunError("timeout", "slow"))
        run = state.transition(run, failed, clock.now()).run
        assert run.status is RunStatus.QUEUED
        assert run.waits is Wait.TIME
        assert run.not_before is not None
        waits.append((run.not_before - clock.now()).total_seconds())
        run = state.transition(
            run, state.Started("srv", clock.now(), "local", SandboxReport()), clock.now()
        ).run
    assert waits == [60, 120]
    last = state.transition(run, state.Failed(run.fence, RunError("timeout", "slow")), clock.now())
    assert last.run.status is RunStatus.FAILED
    assert last.run.attempt == 3


def test_a_code_that_is_not_listed_is_not_retried(clock: ManualClock) -> None:
    run = started(clock, attempts=3)
    error = RunError("output_invalid", "wrong")
    assert state.transition(run, state.Failed(run.fence, error), clock.now()).run.status == "failed"


def test_cancel_of_a_running_run_only_marks_it(clock: ManualClock) -> None:
    run = started(clock)
    change = state.transition(run, state.CancelRequested(), clock.now())
    assert change.run == replace(run, cancel_requested_at=clock.now())
    assert change.events == ()


def test_a_cancelled_run_is_not_retried_when_its_executor_dies(clock: ManualClock) -> None:
    run = started(clock, attempts=3)
    marked = state.transition(run, state.CancelRequested(), clock.now()).run
    ended = state.transition(marked, state.Interrupted(run.fence, "gone"), clock.now()).run
    assert ended.status is RunStatus.CANCELLED


def test_waiting_is_not_counted_in_the_duration(clock: ManualClock) -> None:
    run = started(clock, attempts=2)
    clock.advance(seconds=2)
    run = state.transition(
        run, state.Failed(run.fence, RunError("timeout", "slow")), clock.now()
    ).run
    clock.advance(seconds=60)
    run = state.transition(
        run, state.Started("srv", clock.now(), "local", SandboxReport()), clock.now()
    ).run
    clock.advance(seconds=3)
    done = state.transition(run, state.Completed(run.fence, VALUE), clock.now()).run
    assert done.duration_ms == 5_000


def test_artifacts_are_announced_before_the_status(clock: ManualClock) -> None:
    run = started(clock)
    left = state.Left((artifact(run.id, clock.now()),), logs_dropped=7)
    change = state.transition(run, state.Completed(run.fence, VALUE, left), clock.now())
    assert [event.type for event in change.events] == ["artifact", "status"]
    assert change.run.logs_dropped == 7
