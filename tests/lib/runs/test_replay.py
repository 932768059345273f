"""A replay at the same tree is judged by that tree, whatever became of the worker since."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from lib.errors import Invalid
from lib.runs.catalogue import WorkerBroken, WorkerDisabled
from lib.runs.lifecycle import MissingConnection, MissingSecret, ReplayConflict
from lib.storage.records import RunChange, RunQuery, RunRecord, RunStatus, WorkerSettings
from lib.workspace.worker_source import WorkerNotFound
from tests.lib.runs.fake_sandbox import GOOD
from tests.lib.runs.world import World

BROKEN = {"no manifest": "\t:", "an error": "exec: {inputs: [{name: 1}]}\n"}


def replay(world: World, run: RunRecord, *, latest: bool = False) -> RunRecord:
    return world.lifecycle().replay(run.id, latest=latest, by="eve")


def remove(world: World, worker_id: str = "plain") -> None:
    shutil.rmtree(world.root / "workspace" / "workers" / worker_id)
    world.reload()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_worker_that_is_broken_now_is_replayed_as_it_was(world: World, kind: str) -> None:
    world.add_worker()
    old = world.start()
    world.add_worker(manifest=BROKEN[kind])
    assert world.catalogue.get("plain").status == "error"

    run = replay(world, old)
    assert (run.worker_sha, run.commit) == (old.worker_sha, old.commit)
    with pytest.raises(WorkerBroken):
        replay(world, old, latest=True)


def test_a_worker_that_was_deleted_is_replayed_and_executed_as_it_was(world: World) -> None:
    world.add_worker(run_py="print(1)")
    old = world.start()
    world.lifecycle().cancel(old.id)
    remove(world)
    world.sandbox.script = lambda run: run.finish(GOOD)

    run = world.claim(replay(world, old))
    world.execute(run)

    assert world.status(run) is RunStatus.COMPLETED
    with pytest.raises(WorkerNotFound):
        replay(world, old, latest=True)


def test_secrets_are_those_that_the_tree_declares(world: World) -> None:
    world.add_worker(manifest="exec: {secrets: [OLD_KEY]}\n")
    world.secrets.put("OLD_KEY", "value", at=world.clock.now())
    old = world.start()
    world.add_worker(manifest="exec: {secrets: [NEW_KEY]}\n")

    replay(world, old)
    with pytest.raises(MissingSecret, match="NEW_KEY"):
        replay(world, old, latest=True)

    world.secrets.delete("OLD_KEY")
    world.secrets.put("NEW_KEY", "value", at=world.clock.now())
    with pytest.raises(MissingSecret, match="OLD_KEY"):
        replay(world, old)
    replay(world, old, latest=True)


def test_connections_are_those_that_the_tree_declares(world: World) -> None:
    world.add_worker()
    old = world.start()
    world.add_worker(manifest="connections: [gmail]\n")

    replay(world, old)
    with pytest.raises(MissingConnection):
        replay(world, old, latest=True)


def test_inputs_are_those_that_the_tree_declares(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: who, type: string}]}\n")
    old = world.start(who="Ada")
    world.add_worker(manifest="exec: {inputs: [{name: whom, type: string, required: true}]}\n")

    assert world.inputs_of(replay(world, old)) == {"who": "Ada"}
    with pytest.raises(Invalid):
        replay(world, old, latest=True)


def test_limits_and_approvals_are_those_of_the_tree(world: World) -> None:
    world.add_worker(manifest="limits: {timeout_seconds: 7}\n")
    old = world.start()
    world.add_worker(manifest="limits: {timeout_seconds: 9}\napprovals: {required: true}\n")

    run = replay(world, old)
    assert run.policy == old.policy
    assert run.manifest_digest == old.manifest_digest
    assert run.phase is None
    assert replay(world, old, latest=True).policy.limits.timeout_seconds == 9


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_disabled_worker_is_not_replayed(world: World, *, latest: bool, is_deleted: bool) -> None:
    world.add_worker()
    old = world.start()
    world.settings.change("plain", lambda _: WorkerSettings(enabled=False))
    if is_deleted:
        remove(world)
    with pytest.raises(WorkerNotFound if latest and is_deleted else WorkerDisabled):
        replay(world, old, latest=latest)
    assert len(world.runs.list(RunQuery(), limit=9).rows) == 1


@pytest.mark.parametrize("latest", [False, True])
def test_a_worker_that_is_archived_now_is_not_replayed(world: World, *, latest: bool) -> None:
    world.add_worker()
    old = world.start()
    world.add_worker(manifest="archived: true\n")
    with pytest.raises(WorkerDisabled, match="archived"):
        replay(world, old, latest=latest)


def test_a_worker_that_is_archived_and_broken_now_is_not_replayed(world: World) -> None:
    world.add_worker()
    old = world.start()
    world.add_worker(manifest="archived: true\nlimits: {timeout_seconds: -1}\n")
    assert world.catalogue.get("plain").status == "error"
    with pytest.raises(WorkerDisabled, match="archived"):
        replay(world, old)


def test_a_worker_in_quarantine_is_not_replayed(world: World) -> None:
    world.add_worker()
    old = world.start()
    world.push(".floom/quarantine/plain", b"", 0o100644)
    with pytest.raises(WorkerDisabled):
        replay(world, old)


def at_tree(world: World, worker_id: str, sha: str) -> RunRecord:
    """Return a run that was started at another tree."""
    run = world.start()
    world.clock.advance(milliseconds=1)
    run = replace(run, id=world.ids.new("run"), worker_id=worker_id, worker_sha=sha)
    world.runs.create(RunChange(run))
    return run


def test_a_tree_that_has_gone_is_a_conflict(world: World) -> None:
    world.add_worker()
    run = at_tree(world, "plain", "0" * 40)
    with pytest.raises(ReplayConflict):
        replay(world, run)
    assert replay(world, run, latest=True).worker_sha != "0" * 40


def test_a_tree_whose_manifest_this_version_does_not_take_is_a_conflict(world: World) -> None:
    world.add_worker()
    world.add_worker("broken", BROKEN["an error"])
    run = at_tree(world, "broken", world.catalogue.get("broken").worker.sha)
    assert not world.lifecycle().can_replay(run)
    with pytest.raises(ReplayConflict):
        replay(world, run)


def test_what_can_be_replayed_is_known(world: World) -> None:
    world.add_worker()
    run = world.start()
    remove(world)
    assert world.lifecycle().can_replay(run)
    assert not world.lifecycle().can_replay(replace(run, worker_sha="0" * 40))
