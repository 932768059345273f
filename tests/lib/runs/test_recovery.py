"""Recovery: nothing acknowledged is lost, nothing runs twice unasked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lib.sandbox.port import Launch
from lib.storage.records import RunChange, RunRecord, RunStatus
from tests.lib.runs.fake_sandbox import leave_exit, leave_log, leave_mark, stay
from tests.lib.runs.world import OWNER, World

RETRIES = "retry: {max_attempts: 2, delay_seconds: 0, on: [interrupted]}\n"


def left_behind(world: World, manifest: str = "") -> RunRecord:
    """Return a run that was claimed by the server before it was killed."""
    world.add_worker(manifest=manifest)
    run = world.claimed()
    world.folder(run, made=True)
    world.bell.rings = 0
    return run


def code_of(world: World, run: RunRecord) -> str | None:
    error = world.runs.get(run.id).error
    return None if error is None else error.code


def test_an_exit_record_is_collected_with_all_it_left(world: World) -> None:
    run = left_behind(world)
    folder = world.folder(run)
    leave_mark(folder.path)
    leave_log(folder.path, "last words")
    (folder.work / "out" / "a.txt").write_text("x")
    leave_exit(folder.path)

    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 1

    assert world.status(run) is RunStatus.COMPLETED
    assert [line.message for line in world.logs.tail(run.id, limit=9)] == ["last words"]
    assert [each.name for each in world.runs.list_artifacts(run.id)] == ["a.txt"]
    assert not folder.path.exists()
    assert world.signals.heard == [run.id]
    assert world.sandbox.ended == []


def test_a_run_that_never_started_is_queued_again_as_the_same_attempt(world: World) -> None:
    run = left_behind(world)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    queued = world.runs.get(run.id)
    assert (queued.status, queued.attempt, queued.not_before) == (RunStatus.QUEUED, 1, None)
    assert world.bell.rings == 1
    assert world.claim(queued).fence == run.fence + 1


def test_without_a_mark_on_another_boot_it_may_have_started(world: World) -> None:
    run = left_behind(world)
    world.recovery(same_boot=False).recover_own(OWNER, adopt=world.adopt)
    assert code_of(world, run) == "interrupted"


def test_an_exit_record_of_another_boot_is_not_believed(world: World) -> None:
    run = left_behind(world)
    leave_mark(world.folder(run).path)
    leave_exit(world.folder(run).path)
    world.recovery(same_boot=False).recover_own(OWNER, adopt=world.adopt)
    assert code_of(world, run) == "interrupted"


def test_an_orphan_is_ended_before_its_run_is_interrupted(world: World) -> None:
    run = left_behind(world)
    folder = world.folder(run)
    leave_mark(folder.path)
    leave_log(folder.path, "one")
    seen = []

    def end(path: Path) -> None:
        seen.append(world.status(run))
        leave_log(path, "ended", first_seq=2)
        leave_exit(path, exit_code=143, ended_by="cancel")

    world.sandbox.on_end = end
    world.recovery().recover_own(OWNER, adopt=world.adopt)

    assert world.sandbox.ended == [folder.path]
    assert seen == [RunStatus.RUNNING]
    assert code_of(world, run) == "interrupted"
    assert [line.message for line in world.logs.tail(run.id, limit=9)] == ["one", "ended"]


def test_an_interrupted_run_is_tried_again_where_its_worker_says_so(world: World) -> None:
    run = left_behind(world, RETRIES)
    leave_mark(world.folder(run).path)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    queued = world.runs.get(run.id)
    assert (queued.status, queued.attempt) == (RunStatus.QUEUED, 2)
    assert world.bell.rings == 1
    assert queued.effect_key == run.effect_key


def test_a_cancel_that_was_acknowledged_outlives_the_server(world: World) -> None:
    run = left_behind(world, RETRIES)
    leave_mark(world.folder(run).path)
    world.lifecycle().cancel(run.id)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.CANCELLED


def test_recovering_twice_changes_nothing_more(world: World) -> None:
    run = left_behind(world)
    leave_mark(world.folder(run).path)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    settled = world.runs.get(run.id)
    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 0
    assert world.runs.get(run.id) == settled


def test_runs_of_others_are_left_to_their_lease(world: World) -> None:
    world.add_worker(manifest=RETRIES)
    run = world.claim(world.start(), "srv_other")
    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 0
    assert world.recovery().recover_expired() == 0
    world.clock.advance(seconds=30)
    assert world.recovery().recover_expired() == 0

    world.clock.advance(milliseconds=1)
    assert world.recovery().recover_expired() == 1
    queued = world.runs.get(run.id)
    assert (queued.status, queued.attempt) == (RunStatus.QUEUED, 2)
    assert world.recovery().recover_expired() == 0


def test_an_expired_run_without_a_retry_fails(world: World) -> None:
    world.add_worker()
    run = world.claim(world.start(), "srv_other")
    world.clock.advance(seconds=31)
    world.recovery().recover_expired()
    assert code_of(world, run) == "interrupted"
    assert "lease" in str(world.runs.get(run.id).error)


def test_a_run_that_executes_here_after_all_is_spared(world: World) -> None:
    world.add_worker()
    awake, gone = world.claimed(), world.claimed()
    world.clock.advance(hours=8)  # the host slept
    assert world.recovery().recover_expired(spare=lambda run_id: run_id == awake.id) == 1
    assert world.status(awake) is RunStatus.RUNNING
    assert code_of(world, gone) == "interrupted"


def test_whoever_is_first_settles_an_expired_run(world: World) -> None:
    world.add_worker(manifest=RETRIES)
    run = world.claim(world.start(), "srv_other")
    world.clock.advance(seconds=31)
    expired = world.runs.list_expired(now=world.clock.now(), limit=9)
    recovery = world.recovery()
    world.runs.list_expired = lambda **_: expired  # type: ignore[method-assign]

    recovery.recover_expired()
    again = world.claim(world.runs.get(run.id))
    recovery.recover_expired()  # a second server that looked at the same moment

    assert world.runs.get(run.id) == again


def test_a_run_that_lives_is_adopted_as_it_is(world: World) -> None:
    run = left_behind(world)
    world.runs.change(run.id, lambda _: RunChange(run))
    world.sandbox.survives = True
    world.sandbox.script = stay
    world.sandbox.start(launch_of(world, run)).begin()

    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 1

    assert world.adoptions == [run.id]
    assert world.runs.get(run.id) == run
    assert world.folder(run).path.exists()
    assert world.sandbox.ended == []


def test_of_a_run_that_lives_the_folders_of_earlier_attempts_are_removed(world: World) -> None:
    run = left_behind(world)
    earlier = world.folder(replace(run, fence=run.fence - 1), made=True)
    world.sandbox.survives = True
    world.sandbox.script = stay
    world.sandbox.start(launch_of(world, run)).begin()
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.adoptions == [run.id]
    assert world.folder(run).path.exists()
    assert not earlier.path.exists()


def test_a_run_that_lives_is_ended_when_its_secrets_cannot_be_masked(world: World) -> None:
    run = left_behind(world)
    world.sandbox.survives = True
    world.sandbox.script = stay
    world.sandbox.start(launch_of(world, run)).begin()
    recovery = world.recovery()
    recovery._find_mask = lambda run: None  # type: ignore[method-assign]

    recovery.recover_own(OWNER, adopt=world.adopt)

    assert world.adoptions == []
    assert world.sandbox.ended == [world.folder(run).path]
    assert code_of(world, run) == "interrupted"


def launch_of(world: World, run: RunRecord) -> Launch:
    return Launch(
        run_id=run.id,
        fence=run.fence,
        folder=world.folder(run).path,
        command=("true",),
        environment={},
        limits=run.policy.limits,
        first_seq=1,
    )


def test_folders_that_belong_to_nobody_are_swept(world: World) -> None:
    world.add_worker()
    world.runs_folder.mkdir()
    (world.runs_folder / "run_gone" / "3" / "work").mkdir(parents=True)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert list(world.runs_folder.iterdir()) == []


def test_a_worker_whose_manifest_cannot_be_read_any_more_is_interrupted(world: World) -> None:
    run = left_behind(world)
    world.push("workers/plain/worker.yml", b"exec: [", 0o100644)
    broken = world.catalogue.get("plain").worker
    assert broken.loaded.manifest is None
    frozen_there = replace(run, worker_sha=broken.sha)
    world.runs.change(run.id, lambda _: RunChange(frozen_there))
    leave_exit(world.folder(run).path)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert code_of(world, run) == "interrupted"


@pytest.mark.parametrize("finished", [True, False])
def test_many_runs_are_settled_each_in_its_own_way(world: World, finished: bool) -> None:
    world.add_worker()
    runs = [world.claimed() for _ in range(4)]
    for number, run in enumerate(runs):
        folder = world.folder(run, made=True)
        leave_mark(folder.path)
        if finished and number % 2:
            leave_exit(folder.path)
    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 4
    expected = [RunStatus.FAILED, RunStatus.COMPLETED if finished else RunStatus.FAILED] * 2
    assert [world.status(run) for run in runs] == expected


def broken(world: World, step: str, run: RunRecord) -> list[Path]:
    """Let a step of recovery fail for one run; return a list of the folders that reach it."""
    seen: list[Path] = []
    folder = world.folder(run).path
    real = getattr(world.sandbox, step)

    def fail(subject: Path | list[Path]) -> object:
        paths = subject if isinstance(subject, list) else [subject]
        seen.extend(paths)
        if folder in paths:
            raise RuntimeError("damaged")
        return real(subject)

    setattr(world.sandbox, step, fail)
    return seen


@pytest.mark.parametrize("step", ["find_exit", "adopt", "end_orphans", "has_started"])
def test_a_run_that_cannot_be_judged_keeps_nobody_from_starting(
    world: World, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    world.add_worker()
    damaged, other, finished = (world.claimed() for _ in range(3))
    for run in (damaged, other, finished):
        world.folder(run, made=True)
        leave_mark(world.folder(run).path)
    leave_exit(world.folder(finished).path)
    seen = broken(world, step, damaged)

    assert world.recovery().recover_own(OWNER, adopt=world.adopt) == 3

    assert code_of(world, damaged) == code_of(world, other) == "interrupted"
    assert world.status(finished) is RunStatus.COMPLETED
    assert world.folder(damaged).path in seen
    assert world.folder(other).path in world.sandbox.ended
    assert "not_" in caplog.text
    assert "damaged" in str(caplog.records[0].__dict__) + caplog.text


@pytest.mark.parametrize("step", ["find_exit", "end_orphans"])
def test_an_expired_run_that_cannot_be_judged_does_not_stand_in_the_way(
    world: World, step: str
) -> None:
    world.add_worker()
    damaged, other = world.claimed(), world.claimed()
    for run in (damaged, other):
        world.folder(run, made=True)
        leave_mark(world.folder(run).path)
    broken(world, step, damaged)
    world.clock.advance(seconds=31)

    assert world.recovery().recover_expired() == 2

    assert code_of(world, damaged) == code_of(world, other) == "interrupted"
