"""The executor: claims at once, in turn, never twice, and never loses a cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial

import pytest

from lib.auth.run_token import RunTokens
from lib.errors import Unauthenticated
from lib.runs import state
from lib.sandbox.port import SandboxUnavailable
from lib.storage.memory import MemoryRunStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunChange, RunRecord, RunStatus, SandboxReport
from tests.lib.runs.conftest import Start
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, GOOD, FakeRun, complete, stay
from tests.lib.runs.world import (
    OWNER,
    CertainBell,
    CountedBell,
    HeardSignals,
    RecordedCancels,
    World,
)
from tests.lib.sandbox.conftest import wait_until


def test_a_run_that_waits_is_executed_at_once(world: World, start: Start) -> None:
    world.add_worker()
    run = world.start()
    start()
    done = world.until(run, RunStatus.COMPLETED)
    assert (done.runner, done.sandbox) == ("local", world.sandbox.report())
    assert done.fence == 1


def test_each_attempt_holds_the_token_whose_hash_its_claim_recorded(
    world: World, start: Start
) -> None:
    world.add_worker(manifest="retry: {max_attempts: 2, delay_seconds: 0}\n")
    world.sandbox.script = stay
    run = world.start()
    start()
    tokens = RunTokens(world.runs)
    held = []
    for _ in range(2):
        live = world.sandbox.next_start()
        environment = live.launch.environment
        held.append(environment["FLOOM_RUN_TOKEN"])
        assert environment["WORKEROS_RUN_TOKEN"] == held[-1]
        assert tokens.check(held[-1].encode()).user_id == run.id
        live.finish(exit_code=1)
    world.until(run, RunStatus.FAILED)
    for token in held:
        with pytest.raises(Unauthenticated):
            tokens.check(token.encode())
    assert held[0] != held[1]


def test_a_note_goes_to_the_process_of_the_run_that_runs_here(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.script = stay
    executor = start(max_runs=1)
    run, queued = world.start(), world.start()
    live = world.sandbox.next_start()
    executor.note(run.id, "error", "no address")
    assert live.notes == [("error", "no address")]
    with pytest.raises(state.RunStateConflict, match="not executing"):
        executor.note(queued.id, "info", "too early")
    live.finish(GOOD)
    world.until(run, RunStatus.COMPLETED)
    world.sandbox.next_start()
    with pytest.raises(state.RunStateConflict, match="not executing"):
        executor.note(run.id, "info", "too late")


def test_a_ring_wakes_an_idle_executor_without_any_poll(world: World, start: Start) -> None:
    world.add_worker()
    bell = CertainBell()
    world.bell = bell  # type: ignore[assignment]
    start()
    bell.until_waiting()
    run = world.start()
    world.until(run, RunStatus.COMPLETED)


@pytest.mark.parametrize(
    ("max_runs", "manifest"), [(1, ""), (2, "concurrency: {max: 1}\n")], ids=["slots", "a cap"]
)
def test_what_waits_for_a_run_to_end_does_not_wait_for_the_answer(
    world: World, start: Start, max_runs: int, manifest: str
) -> None:
    world.bell = CertainBell()  # type: ignore[assignment]
    world.add_worker(manifest=manifest)
    runs = [world.start() for _ in range(3)]
    start(max_runs=max_runs, answer_seconds=10 * DEADLINE_SECONDS)
    for run in runs:
        world.until(run, RunStatus.COMPLETED)


def test_an_end_that_nobody_waits_for_is_looked_at_after_the_answer(
    world: World, start: Start
) -> None:
    bell = world.bell = CountedBell()
    world.add_worker()
    executor = start(answer_seconds=10 * DEADLINE_SECONDS)
    run = world.start()
    world.until(run, RunStatus.COMPLETED)
    wait_until(lambda: not executor.is_executing(run.id))
    assert bell.rings == 1  # of the start
    executor.stop(grace_seconds=0)  # so it is no longer put off
    assert bell.rings == 3  # its own, too


class CountedClaims(MemoryRunStore):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        self.limits.append(limit)
        return super().claim(start, now=now, limit=limit)


def test_a_ring_is_answered_by_one_claim_that_takes_all_there_is_room_for(
    world: World, start: Start
) -> None:
    store = CountedClaims()
    world.runs = store
    world.add_worker()
    world.sandbox.script = stay
    runs = {world.start().id for _ in range(3)}
    bell = CertainBell()  # which their starts have not rung
    world.bell = bell  # type: ignore[assignment]
    start(max_runs=4)
    bell.until_waiting()
    assert {world.sandbox.next_start().launch.run_id for _ in runs} == runs
    assert store.limits == [4]


def test_the_lease_is_ours_for_thirty_seconds(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.start()
    now = world.clock.now()
    start()
    world.sandbox.next_start()
    claimed = world.runs.get(run.id)
    assert claimed.lease_owner == OWNER
    assert claimed.lease_until is not None
    assert (claimed.lease_until - now).total_seconds() == 30


def test_higher_priority_goes_first_then_age(world: World, start: Start) -> None:
    world.add_worker()
    priorities = [5, 1, 9, 5, 9]
    runs = [world.start(priority=priority) for priority in priorities]
    start(max_runs=1)
    for run in runs:
        world.until(run, RunStatus.COMPLETED)
    order = [launch.run_id for launch in world.sandbox.launches]
    assert order == [runs[each].id for each in (2, 4, 0, 3, 1)]


def test_no_more_runs_than_allowed_and_each_end_lets_the_next_begin(
    world: World, start: Start
) -> None:
    world.add_worker()
    world.sandbox.script = stay
    bell = CertainBell()
    world.bell = bell  # type: ignore[assignment]
    runs = [world.start() for _ in range(3)]
    start(max_runs=2)
    first, _second = world.sandbox.next_start(), world.sandbox.next_start()
    bell.until_waiting()
    assert world.status(runs[2]) is RunStatus.QUEUED

    first.finish(GOOD)
    third = world.sandbox.next_start()
    assert third.launch.run_id == runs[2].id


def test_a_waiting_retry_sets_the_timer(world: World, start: Start) -> None:
    world.add_worker(manifest="retry: {max_attempts: 2, delay_seconds: 17, on: [interrupted]}\n")
    run = world.claimed()
    world.settle(run, state.Interrupted(run.fence, "gone"))
    bell = CertainBell()
    world.bell = bell  # type: ignore[assignment]
    start()
    bell.until_waiting()
    assert bell.pauses == [17]
    assert world.sandbox.launches == []

    world.clock.advance(seconds=17)
    bell.ring()
    assert world.until(run, RunStatus.COMPLETED).attempt == 2


def test_a_retry_far_away_does_not_silence_the_executor(world: World, start: Start) -> None:
    world.add_worker(manifest="retry: {max_attempts: 2, delay_seconds: 999, on: [interrupted]}\n")
    run = world.claimed()
    world.settle(run, state.Interrupted(run.fence, "gone"))
    bell = CertainBell()
    world.bell = bell  # type: ignore[assignment]
    start()
    bell.until_waiting()
    assert bell.pauses == [30]


def test_a_capped_worker_runs_once_at_a_time(world: World, start: Start) -> None:
    world.add_worker(manifest="concurrency: {max: 1}\n")
    world.sandbox.script = stay
    runs = [world.start() for _ in range(2)]
    start(max_runs=4)
    first = world.sandbox.next_start()
    assert world.status(runs[1]) is RunStatus.QUEUED
    first.finish(GOOD)
    assert world.sandbox.next_start().launch.run_id == runs[1].id


class ShyStore(MemoryRunStore):
    """Is away when a claim comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 1

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("The store is away.")
        return super().claim(start, now=now, limit=limit)


def test_a_store_that_is_down_while_claiming_is_asked_again(world: World, start: Start) -> None:
    store = ShyStore()
    world.runs = store
    world.add_worker()
    run = world.start()
    start()
    world.until(run, RunStatus.COMPLETED)
    assert store.refusals == 0


class SlowStore(MemoryRunStore):
    """Holds each claim back, once it is done, until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed = threading.Event()
        self.go_on = threading.Event()

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        runs = super().claim(start, now=now, limit=limit)
        if runs:
            self.claimed.set()
            assert self.go_on.wait(DEADLINE_SECONDS)
        return runs


def test_a_cancel_while_the_run_is_being_claimed_is_not_lost(world: World, start: Start) -> None:
    store = SlowStore()
    world.runs = store
    world.add_worker()
    world.sandbox.script = stay
    run = world.start()
    executor = start()
    assert store.claimed.wait(DEADLINE_SECONDS)

    entered = threading.Event()

    class Entered(RecordedCancels):
        def cancel(self, run_id: str) -> None:
            entered.set()
            executor.cancel(run_id)

    lifecycle = world.lifecycle(Entered())
    cancelling = threading.Thread(target=lifecycle.cancel, args=(run.id,))
    cancelling.start()
    assert entered.wait(DEADLINE_SECONDS)
    store.go_on.set()
    cancelling.join(DEADLINE_SECONDS)

    assert world.until(run, RunStatus.CANCELLED).cancel_requested_at is not None


def test_a_cancel_ends_the_run_that_runs_here_and_no_other(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.script = stay
    executor = start()
    runs = [world.start(), world.start()]
    lives = {live.launch.run_id: live for live in (world.sandbox.next_start() for _ in runs)}
    executor.cancel(runs[0].id)
    executor.cancel("run_elsewhere")
    world.until(runs[0], RunStatus.CANCELLED)
    assert not lives[runs[1].id].cancelled.is_set()


def test_what_executes_here_is_known(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.script = stay
    executor = start(max_runs=1)
    run, waiting = world.start(), world.start()
    live = world.sandbox.next_start()
    assert executor.is_executing(run.id)
    assert not executor.is_executing(waiting.id)
    live.finish(GOOD)
    world.sandbox.next_start()
    assert not executor.is_executing(run.id)


def test_a_stop_lets_runs_finish_within_the_grace(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    executor = world.executor()
    executor.start()
    run = world.start()
    live = world.sandbox.next_start()
    stopped: list[list[RunRecord]] = []
    stopping = threading.Thread(
        target=lambda: stopped.append(executor.stop(grace_seconds=DEADLINE_SECONDS))
    )
    stopping.start()
    live.finish(GOOD)
    stopping.join(DEADLINE_SECONDS)
    assert stopped == [[]]
    assert world.status(run) is RunStatus.COMPLETED


def test_a_stop_lets_go_of_what_still_runs_and_says_which(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    executor = world.executor(max_runs=1)
    executor.start()
    run, waiting = world.start(), world.start()
    live = world.sandbox.next_start()
    left = executor.stop(grace_seconds=0)
    assert [each.id for each in left] == [run.id]
    assert not live.cancelled.is_set()
    assert live.closed.is_set()
    assert world.runs.get(run.id) == left[0]
    assert world.status(waiting) is RunStatus.QUEUED
    assert world.folder(left[0]).path.exists()


def test_an_executor_that_was_never_started_stops_at_once(world: World) -> None:
    assert world.executor().stop(grace_seconds=0) == []


def test_a_hundred_runs_are_each_executed_once(world: World, start: Start) -> None:
    world.add_worker()
    runs = [world.start() for _ in range(100)]
    start(max_runs=8)
    for run in runs:
        world.until(run, RunStatus.COMPLETED)
    assert sorted(each.run_id for each in world.sandbox.launches) == [run.id for run in runs]


def test_a_crash_of_ours_in_one_run_does_not_stop_the_next(world: World, start: Start) -> None:
    world.add_worker()
    bad, good = world.start(), world.start()

    def script(run: FakeRun) -> None:
        if run.launch.run_id == bad.id:
            raise ZeroDivisionError
        complete(run)

    world.sandbox.script = script
    start(max_runs=1)
    world.until(good, RunStatus.COMPLETED)
    error = world.runs.get(bad.id).error
    assert error is not None
    assert error.code == "internal_error"


def test_runs_fail_and_do_not_wait_for_ever_where_the_sandbox_does_not_start(
    world: World, start: Start
) -> None:
    world.add_worker()
    run = world.start()
    refusal = SandboxUnavailable("The process that starts workers did not start.")
    world.sandbox.refusal = world.sandbox.ailment = refusal
    start()
    failed = world.until(run, RunStatus.FAILED)
    assert failed.error is not None
    assert failed.error.code == "sandbox_unavailable"
    assert failed.sandbox == SandboxReport()


def test_a_retry_that_begins_before_the_attempt_before_it_has_tidied_up_is_not_forgotten(
    world: World, start: Start
) -> None:
    class HeldBack(HeardSignals):
        """Keeps the first attempt from its end once its outcome is recorded."""

        has_recorded = threading.Event()
        go_on = threading.Event()

        def notify(self, run_id: str, run: RunRecord | None = None) -> None:
            super().notify(run_id, run)
            if threading.current_thread().name.startswith("run-") and not self.go_on.is_set():
                self.has_recorded.set()
                assert self.go_on.wait(DEADLINE_SECONDS)

    world.signals = signals = HeldBack()
    world.add_worker(manifest="retry: {max_attempts: 2, delay_seconds: 0}\n")
    world.sandbox.script = stay
    run = world.start()
    executor = start(max_runs=2)
    world.sandbox.next_start().finish(exit_code=1)
    assert signals.has_recorded.wait(DEADLINE_SECONDS)
    [first] = [each for each in threading.enumerate() if each.name == f"run-{run.id}"]
    world.bell.ring()  # as the end of any other run does
    second = world.sandbox.next_start()
    signals.go_on.set()
    first.join(DEADLINE_SECONDS)
    assert executor.is_executing(run.id)  # else its lease would end, and no cancel reach it
    second.finish(GOOD)
    assert world.until(run, RunStatus.COMPLETED).attempt == 2


def test_a_run_begins_while_another_is_tidied_up_after_and_no_stop_leaves_that_undone(
    world: World, start: Start
) -> None:
    may_go_on = threading.Event()

    def finish(run: FakeRun) -> None:
        if len(world.sandbox.launches) == 1:
            run.close = partial(may_go_on.wait, DEADLINE_SECONDS)  # type: ignore[assignment]
        run.finish(GOOD)

    world.sandbox.script = finish
    world.add_worker()
    first, second = world.start(), world.start()
    executor = start(max_runs=1)
    world.until(second, RunStatus.COMPLETED)
    third = world.start()
    world.until(third, RunStatus.COMPLETED)
    assert world.folder(world.runs.get(first.id)).path.exists()
    # One is all that may wait for that: otherwise folders could pile up.
    assert not world.folder(world.runs.get(second.id)).path.exists()

    may_go_on.set()
    executor.stop(grace_seconds=0)
    assert list(world.runs_folder.iterdir()) == []


def test_what_cannot_be_removed_is_logged_and_the_next_run_goes_on(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no more descriptors")

    def finish(run: FakeRun) -> None:
        run.close = fail  # type: ignore[method-assign]
        run.finish(GOOD)

    world.sandbox.script = finish
    world.add_worker()
    start(max_runs=1)
    for _ in range(3):
        world.until(world.start(), RunStatus.COMPLETED)
    assert "attempt_not_tidied_up" in caplog.text
