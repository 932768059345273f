"""Deleting a worker, killed at any step, and what waits for it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lib.runs import state
from lib.runs.removal import WorkerRemoval
from lib.storage.approval_records import ApprovalStatus
from lib.storage.records import RunStatus, WorkerSettings
from lib.storage.stored import Stored
from lib.workspace.worker_source import CapabilityRequiresAdmin, WorkerNotFound, Writer
from lib.workspace.workspace import Author
from tests.contract.fused import Fuse, Killed
from tests.lib.runs.samples import approval
from tests.lib.runs.world import World

ADMIN = Writer(Author("Anna", "anna@example.org"), is_admin=True)
MEMBER = Writer(Author("Bob", "bob@example.org"), is_admin=False)
SETTINGS = WorkerSettings(enabled=True, saved_inputs={"who": "Ada"})


def fused(world: World, fuse: Fuse) -> WorkerRemoval:
    return WorkerRemoval(
        source=fuse.protect(world.worker_source),
        workspace=world.workspace,
        lifecycle=fuse.protect(world.lifecycle()),
        runs=fuse.protect(world.runs),
        settings=fuse.protect(world.settings),
        shares=fuse.protect(world.shares),
        clock=world.clock,
    )


def statuses(world: World, *run_ids: str) -> list[RunStatus]:
    return [world.runs.get(run_id).status for run_id in run_ids]


def test_what_waits_is_cancelled_and_what_runs_runs_on(world: World) -> None:
    world.add_worker("plain")
    world.add_worker("other")
    running = world.claimed()
    queued = [world.start().id for _ in range(3)]
    others = world.start("other").id
    world.settings.change("plain", lambda _: WorkerSettings(enabled=False))

    world.removal().delete("plain", writer=ADMIN)

    assert statuses(world, *queued) == [RunStatus.CANCELLED] * 3
    assert statuses(world, running.id, others) == [RunStatus.RUNNING, RunStatus.QUEUED]
    assert world.settings.get("plain") == WorkerSettings()
    assert "plain" not in world.registry.current().workers


def test_a_pending_approval_is_cancelled(world: World) -> None:
    world.add_worker("plain", "approvals: {required: true}\n")
    run = world.claimed()
    asked = approval(run, world.clock.now())
    world.settle(run, state.Proposed(run.fence, asked, Stored(2, text="{}")))

    world.removal().delete("plain", writer=ADMIN)

    assert statuses(world, run.id) == [RunStatus.CANCELLED]
    (decided,) = world.approvals.list_of_run(run.id)
    assert decided.status is ApprovalStatus.CANCELLED


def test_a_refused_deletion_changes_nothing(world: World) -> None:
    world.add_worker("plain")
    queued = world.start().id
    with pytest.raises(WorkerNotFound):
        world.removal().delete("none", writer=ADMIN)
    assert statuses(world, queued) == [RunStatus.QUEUED]


@pytest.mark.parametrize("length", range(18))
def test_a_server_killed_at_any_step_finishes_at_its_next_start(world: World, length: int) -> None:
    """Also of runs that were created in the second of the commit."""
    world.add_worker("plain")
    world.settings.change("plain", lambda _: SETTINGS)
    world.add_worker("other")
    queued = [world.start().id for _ in range(2)]
    others = world.start("other").id
    with suppress(Killed):
        fused(world, Fuse(length)).delete("plain", writer=ADMIN)
    is_deleted = "plain" not in world.registry.current().workers

    world.removal().finish()

    wanted = RunStatus.CANCELLED if is_deleted else RunStatus.QUEUED
    assert statuses(world, *queued) == [wanted] * 2
    assert statuses(world, others) == [RunStatus.QUEUED]
    assert world.settings.get("plain") == (WorkerSettings() if is_deleted else SETTINGS)


def test_a_run_that_was_under_way_may_wait_across_a_restart(world: World) -> None:
    world.add_worker("plain", "approvals: {required: true}\n")
    run = world.claimed()
    world.clock.advance(seconds=2)
    world.removal().delete("plain", writer=ADMIN)
    asked = approval(run, world.clock.now())
    world.settle(run, state.Proposed(run.fence, asked, Stored(2, text="{}")))

    assert world.removal().finish() == 0
    assert statuses(world, run.id) == [RunStatus.PENDING_APPROVAL]


def test_a_deletion_that_is_not_allowed_is_forgotten(world: World) -> None:
    world.add_worker("plain", "calls: [other]\n")
    with pytest.raises(CapabilityRequiresAdmin):
        world.removal().delete("plain", writer=MEMBER)
    assert world.settings.get("plain") == WorkerSettings()


def test_a_replay_after_the_deletion_is_left_alone(world: World) -> None:
    world.add_worker("plain")
    first = world.start()
    world.clock.advance(seconds=2)
    world.removal().delete("plain", writer=ADMIN)
    world.clock.advance(seconds=2)
    replay = world.lifecycle().replay(first.id, latest=False, by="anna")

    assert world.removal().finish() == 0
    assert statuses(world, replay.id) == [RunStatus.QUEUED]


def test_a_worker_that_was_removed_by_hand_is_left_to_its_runs(world: World) -> None:
    world.add_worker("plain")
    queued = world.start().id
    world.clock.advance(seconds=2)
    for path in (world.root / "workspace/workers/plain").iterdir():
        path.unlink()
    world.reload()

    assert world.removal().finish() == 0
    assert statuses(world, queued) == [RunStatus.QUEUED]
