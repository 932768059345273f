"""The engine: recovery before work, housekeeping beside it, one clean end."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest

from lib.runs.engine import Engine
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunChange, RunStatus
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, leave_exit, leave_mark, stay
from tests.lib.runs.world import OWNER, World


def engine_of(world: World) -> Engine:
    return Engine(
        owner=OWNER,
        executor=world.executor(),
        recovery=world.recovery(),
        retention=world.retention(),
        removal=world.removal(),
        failures=world.failure_issues(),
        expiry=world.expiry,
    )


def test_what_an_earlier_life_left_is_settled_before_new_work(world: World) -> None:
    world.add_worker()
    left = world.claimed()
    folder = world.folder(left, made=True)
    leave_mark(folder.path)
    leave_exit(folder.path)
    never_started = world.claimed()
    waiting = world.start()

    with engine_of(world):
        assert world.status(left) is RunStatus.COMPLETED
        for run in (never_started, waiting):
            world.until(run, RunStatus.COMPLETED)

    assert world.signals.heard[:2] == [left.id, never_started.id]
    assert world.runs.get(never_started.id).attempt == 1


def test_a_stop_lets_runs_go_on_and_the_next_start_adopts_them(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    with engine_of(world):
        run = world.start()
        live = world.sandbox.next_start()
    running = world.runs.get(run.id)
    assert running.status is RunStatus.RUNNING
    assert not live.cancelled.is_set()

    world.sandbox.survives = True
    with engine_of(world):
        live.finish({"status": "success"})
        done = world.until(run, RunStatus.COMPLETED)
    assert (done.attempt, done.fence) == (1, running.fence)
    assert len(world.sandbox.launches) == 1


def test_an_adopted_run_whose_manifest_loads_no_more_is_ended_before_it_fails(
    world: World,
) -> None:
    """As after an upgrade that is stricter: nothing may run on without its record."""
    world.add_worker()
    world.sandbox.script = stay
    with engine_of(world):
        run = world.start()
        live = world.sandbox.next_start()
    world.push("workers/plain/worker.yml", b"exec: [", 0o100644)
    broken = world.catalogue.get("plain").worker.sha
    world.runs.change(run.id, lambda each: RunChange(replace(each, worker_sha=broken)))
    folder = world.folder(world.runs.get(run.id)).path
    world.sandbox.survives = True
    seen: list[RunStatus] = []
    world.sandbox.on_end = lambda _folder: seen.append(world.status(run))

    with engine_of(world):
        failed = world.until(run, RunStatus.FAILED)

    assert failed.error is not None
    assert failed.error.code == "execution_error"
    assert world.sandbox.ended == [folder]
    assert seen == [RunStatus.RUNNING]
    assert live.closed.is_set()


def test_a_cancel_that_came_while_there_was_no_server_ends_the_adopted_run(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    with engine_of(world):
        run = world.start()
        world.sandbox.next_start()
    world.lifecycle().cancel(run.id)
    world.sandbox.survives = True
    with engine_of(world):
        world.until(run, RunStatus.CANCELLED)


def test_expired_leases_of_others_are_settled(world: World) -> None:
    world.add_worker()
    run = world.claim(world.start(), "srv_other")
    world.clock.advance(seconds=31)
    with engine_of(world):
        world.until(run, RunStatus.FAILED)


def test_the_housekeeping_outlives_a_store_that_is_down(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asked = threading.Event()

    def down(**_: object) -> int:
        asked.set()
        raise StoreUnavailable("The store is away.")

    world.claims.delete_expired = down  # type: ignore[method-assign]
    world.add_worker()
    with caplog.at_level(logging.ERROR), engine_of(world):
        assert asked.wait(DEADLINE_SECONDS)
        world.until(world.start(), RunStatus.COMPLETED)
    assert "housekeeping_failed" in caplog.text


def test_no_thread_is_left_behind(world: World) -> None:
    before = set(threading.enumerate())
    world.add_worker()
    with engine_of(world):
        world.until(world.start(), RunStatus.COMPLETED)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    # The workspace, which is still open, has a pool that grows when it has much to do.
    assert {name for name in left if not name.startswith("workspace-")} == set()
