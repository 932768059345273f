"""A run that is created while there is room: claimed as it is created, never lost, never twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lib.runs.attempt import QUICK_SECRETS_CHARACTERS
from lib.runs.executor import Slot
from lib.runs.lifecycle import Lifecycle, StartRequest
from lib.runs.preparation import LINK_MODE, QUICK_BYTES, QUICK_FILES
from lib.sandbox.port import SandboxUnavailable
from lib.storage.memory import MemoryRunStore
from lib.storage.ports import ConcurrencyReached, Creation, StoreUnavailable
from lib.storage.records import RunChange, RunRecord, RunStatus, Trigger
from tests.lib.runs.conftest import Start
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, GOOD, stay
from tests.lib.runs.world import (
    OWNER,
    CertainBell,
    HeardSignals,
    RecordedCancels,
    World,
    refuse_a_thread_once,
)


class Claimless(MemoryRunStore):
    """Has nothing for the dispatcher, so what begins has begun in a slot."""

    def claim(self, *_: object, **__: object) -> list[RunRecord]:
        return []


class SlowStore(MemoryRunStore):
    """Holds each creation back, once it is done, until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[RunRecord] = []
        self.has_created = threading.Semaphore(0)
        self.go_on = threading.Event()

    def create(self, change: RunChange, **options: Any) -> Creation:
        creation = super().create(change, **options)
        if creation.started is not None:
            self.created.append(creation.started)
            self.has_created.release()
            assert self.go_on.wait(DEADLINE_SECONDS)
        return creation


def ask(lifecycle: Lifecycle) -> RunRecord:
    trigger = Trigger("manual", None, "ada")
    created = lifecycle.start(StartRequest(worker_id="plain", inputs={}, trigger=trigger)).run
    assert created is not None
    return created


def asking(lifecycle: Lifecycle) -> threading.Thread:
    thread = threading.Thread(target=ask, args=(lifecycle,))
    thread.start()
    return thread


def test_it_runs_without_the_dispatcher(world: World, start: Start) -> None:
    world.runs = Claimless()
    world.add_worker()
    lifecycle = world.lifecycle(start())
    run = ask(lifecycle)
    assert run.status is RunStatus.QUEUED  # what was asked for, and is answered
    done = world.until(run, RunStatus.COMPLETED)
    assert (done.runner, done.sandbox, done.fence) == ("local", world.sandbox.report(), 1)


class Looking(MemoryRunStore):
    """Lets the test look once a run is created, before anybody is told."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Callable[[RunRecord], None] = lambda _run: None

    def create(self, change: RunChange, **options: Any) -> Creation:
        creation = super().create(change, **options)
        if creation.started is not None:
            self.look(creation.started)
        return creation


def test_it_is_got_ready_while_it_is_created_and_begins_then(world: World, start: Start) -> None:
    world.runs = store = Looking()
    world.add_worker()
    seen: list[object] = []

    def look(run: RunRecord) -> None:
        seen.append(world.sandbox.made[0].launch.run_id == run.id)
        seen.append((world.folder(run).work / "run.py").exists())
        seen.append(list(world.sandbox.launches))

    store.look = look
    world.until(ask(world.lifecycle(start())), RunStatus.COMPLETED)
    assert seen == [True, True, []]
    assert len(world.sandbox.made) == 1  # which is the one that began


class Refusing(MemoryRunStore):
    """Takes nothing, once it was asked."""

    def create(self, change: RunChange, **options: Any) -> Creation:
        options["meanwhile"]()
        raise StoreUnavailable(f"no room for {change.run.id}")


class Queueing(MemoryRunStore):
    """Leaves the claim of a new run to the dispatcher, who has it before its creator knows."""

    def __init__(self) -> None:
        super().__init__()
        self.ring: Callable[[], object] = lambda: None
        self.has_claimed = threading.Event()
        self.look = lambda: None

    def create(self, change: RunChange, *, start: object = None, **options: Any) -> Creation:
        creation = super().create(change, **options)
        if start is not None:
            self.ring()
            assert self.has_claimed.wait(DEADLINE_SECONDS)
            self.look()
        return creation

    def claim(self, *args: Any, **options: Any) -> list[RunRecord]:
        claimed = super().claim(*args, **options)
        if claimed:
            self.has_claimed.set()
        return claimed


def test_what_was_got_ready_for_nothing_is_taken_back(world: World, start: Start) -> None:
    world.runs = Refusing()
    world.add_worker()
    with pytest.raises(StoreUnavailable):
        ask(world.lifecycle(start()))
    [made] = world.sandbox.made
    assert made.closed.is_set()
    assert not world.sandbox.launches
    assert not any(world.runs_folder.iterdir())


def test_whoever_has_the_run_waits_until_it_is_taken_back(world: World, start: Start) -> None:
    world.runs = store = Queueing()
    world.add_worker()
    executor = start()
    store.ring = world.bell.ring

    def until_the_dispatcher_waits_or_has_begun() -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (executor._changed._waiters or world.sandbox.launches):  # type: ignore[attr-defined]
            assert time.monotonic() < deadline

    store.look = until_the_dispatcher_waits_or_has_begun
    done = world.until(ask(world.lifecycle(executor)), RunStatus.COMPLETED)
    ahead, begun = world.sandbox.made
    assert (ahead.closed.is_set(), begun.launch) == (True, world.sandbox.launches[0])
    assert done.fence == 1  # the folder is the same


@pytest.mark.parametrize("on_limit", ["queue", "skip"])
def test_nothing_is_got_ready_for_a_worker_at_its_cap(
    world: World, start: Start, on_limit: str
) -> None:
    world.add_worker(manifest=f"concurrency: {{max: 1, on_limit: {on_limit}}}\n")
    world.sandbox.script = stay
    lifecycle = world.lifecycle(start(max_runs=3))
    ask(lifecycle)
    world.sandbox.next_start()
    with suppress(ConcurrencyReached):
        ask(lifecycle)
    assert len(world.sandbox.made) == 1


def test_nothing_is_got_ready_where_others_wait(world: World, start: Start) -> None:
    world.runs = Claimless()  # so that they wait
    world.add_worker()
    ask(world.lifecycle())
    ask(world.lifecycle(start()))
    assert not world.sandbox.made


SLOW = {
    "packages": ("", {"requirements.txt": "six==1.17.0\n"}),
    "a large bundle": ("", {"large.txt": "x" * (QUICK_BYTES + 1)}),
    "many files": ("", {f"part_{number}.txt": "" for number in range(QUICK_FILES)}),
    "files": ("exec: {inputs: [{name: data, kind: file, type: csv, required: false}]}\n", {}),
    "contexts": ("contexts: [shared]\n", {}),
    "large secrets": ("exec: {secrets: [LARGE]}\n", {}),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_worker_that_may_take_long_is_not_got_ready_ahead(
    world: World, start: Start, what: str
) -> None:
    """Whoever asks for the run is not to wait for that."""
    world.runs = store = Looking()
    manifest, files = SLOW[what]
    context = world.root / "workspace" / "contexts" / "shared"
    context.mkdir(parents=True)
    (context / "facts.txt").write_text("facts")
    large = "x" * (QUICK_SECRETS_CHARACTERS + 1)
    world.secrets.put("LARGE", large, at=world.clock.now())
    world.add_worker(manifest=manifest, **files)
    seen: list[int] = []
    store.look = lambda _run: seen.append(len(world.sandbox.made))
    run = ask(world.lifecycle(start()))
    assert seen == [0]
    if what != "packages":
        world.until(run, RunStatus.COMPLETED)


def test_what_cannot_be_got_ready_is_told_by_the_run(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.refusal = SandboxUnavailable("no processes")
    done = world.until(ask(world.lifecycle(start())), RunStatus.FAILED)
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("sandbox_unavailable", "no processes")


def test_what_waits_for_a_folder_that_cannot_be_filled_is_let_go(
    world: World, start: Start
) -> None:
    world.add_worker()
    world.push("workers/plain/link", b"/etc", LINK_MODE)
    done = world.until(ask(world.lifecycle(start())), RunStatus.FAILED)
    assert done.error is not None
    assert (done.error.code, "link" in done.error.message) == ("execution_error", True)
    [made] = world.sandbox.made
    assert made.closed.is_set()
    assert not world.sandbox.launches


def test_its_lease_and_its_token_are_ours(world: World, start: Start) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = ask(world.lifecycle(start()))
    live = world.sandbox.next_start()
    claimed = world.runs.get(run.id)
    assert claimed.lease_owner == OWNER
    assert claimed.lease_until is not None
    assert (claimed.lease_until - world.clock.now()).total_seconds() == 30
    assert live.launch.environment["FLOOM_RUN_TOKEN"]
    assert claimed.token_sha256 is not None


def test_one_for_which_there_is_no_room_waits_for_the_dispatcher(
    world: World, start: Start
) -> None:
    world.add_worker()
    world.sandbox.script = stay
    lifecycle = world.lifecycle(start(max_runs=1))
    ask(lifecycle)
    live = world.sandbox.next_start()
    second = ask(lifecycle)
    assert world.status(second) is RunStatus.QUEUED
    live.finish(GOOD)
    assert world.sandbox.next_start().launch.run_id == second.id


def test_no_more_begin_than_may_however_many_are_created_at_once(
    world: World, start: Start
) -> None:
    world.add_worker()
    world.sandbox.script = stay
    lifecycle = world.lifecycle(start(max_runs=3))
    threads = [asking(lifecycle) for _ in range(20)]
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    lives = [world.sandbox.next_start() for _ in range(3)]
    assert len(world.sandbox.launches) == 3
    for _ in range(17):
        lives.pop(0).finish(GOOD)
        lives.append(world.sandbox.next_start())
    assert len({launch.run_id for launch in world.sandbox.launches}) == 20


@pytest.mark.parametrize("is_stopped", [True, False])
def test_an_executor_that_takes_no_runs_has_no_slots(world: World, is_stopped: bool) -> None:
    world.add_worker()
    executor = world.executor()
    if is_stopped:
        executor.start()
        executor.stop(grace_seconds=0)
    run = ask(world.lifecycle(executor))
    assert world.status(run) is RunStatus.QUEUED


def test_a_slot_that_was_not_used_is_free_again(world: World, start: Start) -> None:
    class Away(MemoryRunStore):
        is_away = True

        def create(self, change: RunChange, **options: Any) -> Creation:
            if self.is_away:
                raise StoreUnavailable("The store is away.")
            return super().create(change, **options)

    world.runs = store = Away()
    world.add_worker()
    lifecycle = world.lifecycle(start(max_runs=1))
    rings = world.bell.rings
    with pytest.raises(StoreUnavailable):
        ask(lifecycle)
    assert world.bell.rings > rings  # the dispatcher may have found no room meanwhile
    store.is_away = False
    world.until(ask(lifecycle), RunStatus.COMPLETED)


def test_a_store_that_cannot_be_asked_beforehand_may_well_create(
    world: World, start: Start
) -> None:
    class Unread(MemoryRunStore):
        def is_any_claimable(self, **_: object) -> bool:
            raise StoreUnavailable("The store is away.")

    world.runs = Unread()
    world.add_worker()
    world.until(ask(world.lifecycle(start(max_runs=1))), RunStatus.COMPLETED)


def test_a_cancel_between_creation_and_begin_is_not_lost(world: World, start: Start) -> None:
    world.runs = store = SlowStore()
    world.add_worker()
    world.sandbox.script = stay
    executor = start()
    creating = asking(world.lifecycle(executor))
    assert store.has_created.acquire(timeout=DEADLINE_SECONDS)
    [run] = store.created
    entered = threading.Event()

    class Entered(RecordedCancels):
        def cancel(self, run_id: str) -> None:
            entered.set()
            executor.cancel(run_id)

    cancelling = threading.Thread(target=world.lifecycle(Entered()).cancel, args=(run.id,))
    cancelling.start()
    assert entered.wait(DEADLINE_SECONDS)
    store.go_on.set()
    cancelling.join(DEADLINE_SECONDS)
    creating.join(DEADLINE_SECONDS)
    assert world.until(run, RunStatus.CANCELLED).cancel_requested_at is not None


def test_a_stop_between_creation_and_begin_leaves_the_run_to_the_next_life(world: World) -> None:
    world.runs = store = SlowStore()
    world.add_worker()
    world.sandbox.script = stay
    executor = world.executor()
    executor.start()
    creating = asking(world.lifecycle(executor))
    assert store.has_created.acquire(timeout=DEADLINE_SECONDS)
    join_starters = executor._join_starters

    def join_and_go_on() -> None:  # the last thing before a stop looks at what there is
        join_starters()
        store.go_on.set()

    executor._join_starters = join_and_go_on  # type: ignore[method-assign]
    left = executor.stop(grace_seconds=0)
    creating.join(DEADLINE_SECONDS)
    assert left == store.created
    assert [run.closed.is_set() for run in world.sandbox.made] == [True]
    assert world.status(left[0]) is RunStatus.RUNNING


def test_a_run_that_cannot_begin_is_queued_again(world: World, start: Start) -> None:
    world.add_worker()
    executor = start()
    refused = refuse_a_thread_once(executor)
    done = world.until(ask(world.lifecycle(executor)), RunStatus.COMPLETED)
    assert refused.is_set()
    assert (done.attempt, done.fence) == (1, 2)


class HeldUp(HeardSignals):
    """Holds up whoever begins, once its run is listed and before its thread is there."""

    def __init__(self) -> None:
        super().__init__()
        self.has_listed = threading.Event()
        self.go_on = threading.Event()

    def notify_progress(self, run_id: str) -> None:
        super().notify_progress(run_id)
        if not self.has_listed.is_set():
            self.has_listed.set()
            assert self.go_on.wait(DEADLINE_SECONDS)


def test_a_run_that_begins_in_a_slot_takes_the_room_of_one(world: World) -> None:
    world.signals = signals = HeldUp()
    world.bell = bell = CertainBell()  # type: ignore[assignment]
    world.add_worker()
    world.sandbox.script = stay
    executor = world.executor(max_runs=2)
    executor.start()
    bell.until_waiting()
    creating = asking(world.lifecycle(executor))
    assert signals.has_listed.wait(DEADLINE_SECONDS)
    second = ask(world.lifecycle())  # nobody rings again after this one
    assert world.sandbox.next_start().launch.run_id == second.id
    signals.go_on.set()
    creating.join(DEADLINE_SECONDS)
    executor.stop(grace_seconds=0)


@pytest.mark.parametrize("failure", [OSError("no descriptors"), RuntimeError("no threads")])
def test_without_word_of_the_sandbox_a_run_waits_for_the_dispatcher(
    world: World, start: Start, failure: Exception
) -> None:
    world.add_worker()
    executor = start(max_runs=1)
    world.sandbox.ailment = failure
    run = ask(world.lifecycle(executor))
    world.sandbox.ailment = None
    world.until(run, RunStatus.COMPLETED)
    again = ask(world.lifecycle(executor))  # the slot is not held for ever
    world.until(again, RunStatus.COMPLETED)


def test_nobody_waits_in_a_request_for_a_sandbox_that_starts(world: World, start: Start) -> None:
    world.runs = Claimless()
    world.add_worker()
    lifecycle = world.lifecycle(start())
    world.sandbox.ready = False
    assert world.status(ask(lifecycle)) is RunStatus.QUEUED  # for the dispatcher


def test_a_run_that_ends_before_its_slot_leaves_room_for_another(world: World) -> None:
    world.bell = bell = CertainBell()  # type: ignore[assignment]
    world.add_worker()
    executor = world.executor(max_runs=1)
    executor.start()
    bell.until_waiting()
    later: list[RunRecord] = []

    class Lingering(RecordedCancels):
        """Holds a slot until its run has ended and the dispatcher has found no room twice."""

        @contextmanager
        def slot(self, run: RunRecord) -> Iterator[Slot | None]:
            with executor.slot(run) as slot:
                yield slot
                bell.until_waiting()
                later.append(ask(world.lifecycle()))
                bell.until_waiting()

    first = ask(world.lifecycle(Lingering()))
    assert world.status(first) is RunStatus.COMPLETED
    world.until(later[0], RunStatus.COMPLETED)
    executor.stop(grace_seconds=0)


def test_a_run_whose_lease_ends_before_it_begins_is_not_given_up(
    world: World, start: Start
) -> None:
    """The host may sleep at any moment."""
    world.runs = store = SlowStore()
    world.add_worker()
    executor = start()
    creating = asking(world.lifecycle(executor))
    assert store.has_created.acquire(timeout=DEADLINE_SECONDS)
    [run] = store.created
    world.clock.advance(seconds=31)
    assert world.recovery().recover_expired(spare=executor.is_executing) == 0
    store.go_on.set()
    creating.join(DEADLINE_SECONDS)
    assert world.until(run, RunStatus.COMPLETED).fence == 1
