"""What once went wrong between two steps, or at the edge of what is allowed."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime

import pytest

from lib.runs import state
from lib.runs.event_stream import Position, StreamItem
from lib.runs.key_use import KeyUse
from lib.runs.lifecycle import ReplayConflict, StartRequest
from lib.storage.ports import ConcurrencyReached
from lib.storage.records import RunChange, RunEvent, RunRecord, RunStatus, StoredAnswer, Trigger
from lib.storage.stored import Stored
from tests.lib.runs.fake_sandbox import GOOD, leave_exit, leave_mark, stay
from tests.lib.runs.test_event_stream import Story
from tests.lib.runs.world import OWNER, World, refuse_a_thread_once


def test_a_cancel_before_the_process_exists_outlives_a_crash(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    world.folder(run, made=True)
    world.lifecycle().cancel(run.id)
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.CANCELLED


def test_a_full_executor_does_not_spin_on_a_retry_that_is_due(world: World) -> None:
    world.add_worker("a", "retry: {max_attempts: 2, delay_seconds: 0, on: [interrupted]}\n")
    world.add_worker("b")
    world.sandbox.script = stay
    retried = world.claimed("a")
    world.settle(retried, state.Interrupted(retried.fence, "gone"))
    world.clock.advance(seconds=-1)
    executor = world.executor(max_runs=1)
    world.start("b", priority=9)
    executor.start()
    live = world.sandbox.next_start()
    world.clock.advance(seconds=5)
    asked = threading.Semaphore(0)
    look = world.runs.next_due

    def count() -> datetime | None:
        asked.release()
        return look()

    world.runs.next_due = count  # type: ignore[method-assign]
    world.bell.ring()
    assert not asked.acquire(timeout=0.3)
    live.finish(GOOD)
    executor.stop(grace_seconds=0)


def test_a_run_that_ends_while_its_events_are_read_still_shows_its_end() -> None:
    story = Story()
    story.begin()
    position = story.reader.read(Position())[-1].position
    look = story.store.list_events
    ended = threading.Event()

    def end_just_after(run_id: str, *, after: int = 0) -> list[RunEvent]:
        found = look(run_id, after=after)
        if not ended.is_set():
            ended.set()
            story.log()
            fence = story.store.get(run_id).fence
            story.apply(state.Completed(fence, Stored(2, text="{}")))
        return found

    story.store.list_events = end_just_after  # type: ignore[method-assign]
    seen: list[StreamItem] = []
    while not seen or seen[-1].type != "end":
        items = story.reader.read(position)
        seen += items
        position = items[-1].position if items else position
    assert [item.type for item in seen] == ["log", "status", "end"]


def test_the_dispatcher_survives_a_failure_of_one_run(world: World) -> None:
    world.add_worker()
    executor = world.executor()
    failed = refuse_a_thread_once(executor)
    executor.start()
    world.start()
    assert failed.wait(10)
    run = world.start()
    world.sandbox.next_start()
    executor.stop(grace_seconds=10)
    assert world.status(run) is RunStatus.COMPLETED


def test_a_damaged_log_does_not_keep_the_server_from_starting(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    world.folder(run, made=True)
    leave_mark(world.folder(run).path)
    (world.folder(run).meta / "log.ndjson").write_bytes(b"\0\0\0\0\n")
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.FAILED


def test_a_tree_that_is_gone_does_not_keep_the_server_from_starting(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    world.folder(run, made=True)
    leave_mark(world.folder(run).path)
    leave_exit(world.folder(run).path)
    world.runs.change(run.id, lambda now: RunChange(replace(now, worker_sha="0" * 40)))
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.FAILED


def test_an_orphan_that_ends_by_itself_just_then_is_collected(world: World) -> None:
    world.add_worker(manifest="retry: {max_attempts: 2, delay_seconds: 0, on: [interrupted]}\n")
    run = world.claimed()
    world.folder(run, made=True)
    leave_mark(world.folder(run).path)
    world.sandbox.on_end = leave_exit
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.COMPLETED


def test_a_repetition_is_answered_although_the_worker_was_disabled(world: World) -> None:
    world.add_worker()
    key: KeyUse[RunRecord] = KeyUse(
        "s", "b", lambda run: StoredAnswer(202, Stored(2, text="{}"), run_id=run.id)
    )
    world.start(key=key)
    world.settings.change("plain", lambda now: replace(now, enabled=False))
    request = StartRequest(worker_id="plain", inputs={}, trigger=Trigger("manual"), key=key)
    assert world.lifecycle().start(request).replayed is not None


def test_a_refused_start_does_not_keep_an_upload(world: World) -> None:
    world.add_worker(
        manifest="concurrency: {max: 1, on_limit: skip}\n"
        "exec: {inputs: [{name: data, kind: file}]}\n"
    )
    world.start()
    upload = world.upload()
    with pytest.raises(ConcurrencyReached):
        world.start(data=upload.id)
    assert world.upload_store.get(upload.id).used_at is None


def test_a_schedule_that_gives_the_input_is_not_blocked(world: World) -> None:
    world.add_worker(
        manifest='trigger: {type: schedule, cron: "@daily", inputs: {who: Ada}}\n'
        "exec: {inputs: [{name: who, type: string, required: true}]}\n"
    )
    assert world.catalogue.get("plain").status == "ready"


def test_replay_of_a_tree_that_is_gone_is_a_conflict(world: World) -> None:
    world.add_worker()
    run = world.start()
    world.runs.change(run.id, lambda now: RunChange(replace(now, worker_sha="0" * 40)))
    with pytest.raises(ReplayConflict):
        world.lifecycle().replay(run.id, latest=False, by="x")


@pytest.mark.parametrize(
    ("path", "files"),
    [("d", {"d/x": "1"}), (None, {"out": "1"}), (None, {"inputs.json/x": "1"}), ("out", {})],
)
def test_paths_that_collide_are_told_not_a_defect_of_ours(
    world: World, path: str | None, files: dict[str, str]
) -> None:
    where = f", path: {path}" if path else ""
    folder = world.write_worker("plain", f"exec: {{inputs: [{{name: data, kind: file{where}}}]}}\n")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    world.reload()
    run = world.executed(**({"data": world.upload().id} if path else {}))
    assert run.error is None or run.error.code == "execution_error"
