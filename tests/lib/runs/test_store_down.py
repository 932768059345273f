"""A store that is down, or full, while a run is under way: the run goes on, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import BinaryIO

import pytest

from lib.storage.memory import MemoryBlobStore, MemoryLogStore, MemoryUploadStore
from lib.storage.ports import BlobInfo, StoreUnavailable
from lib.storage.records import LogLine, RunRecord, RunStatus, Upload
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, GOOD, FakeRun, stay
from tests.lib.runs.world import OWNER, World


class ShakyLogs(MemoryLogStore):
    """Refuses the next appends."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0
        self.refused = threading.Semaphore(0)

    def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
        if self.refusals:
            self.refusals -= 1
            self.refused.release()
            raise StoreUnavailable("The store is away.")
        super().append(run_id, lines)


class FullBlobs(MemoryBlobStore):
    """Takes nothing while it is full."""

    is_full = False

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        if self.is_full:
            raise StoreUnavailable("No space left on device.")
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


def messages(world: World, run: RunRecord) -> list[str]:
    return [line.message for line in world.logs.list(run.id, limit=9)]


def started(world: World, run: RunRecord) -> tuple[threading.Thread, FakeRun]:
    """Execute a run on a thread of its own that the test must join."""
    thread = threading.Thread(target=world.attempt(run).execute)
    thread.start()
    return thread, world.sandbox.next_start()


def test_a_log_store_that_is_down_for_a_moment_loses_no_line_and_no_run(world: World) -> None:
    logs = ShakyLogs()
    world.use_logs(logs)
    world.sandbox.script = stay
    world.add_worker()
    run = world.claimed()
    thread, live = started(world, run)
    logs.refusals = 1
    live.log("one")
    assert logs.refused.acquire(timeout=DEADLINE_SECONDS)
    live.log("two", first_seq=2)
    live.finish(GOOD)
    thread.join(DEADLINE_SECONDS)
    assert world.status(run) is RunStatus.COMPLETED
    assert messages(world, run) == ["one", "two"]


def test_a_log_store_that_stays_down_leaves_the_run_to_recovery(world: World) -> None:
    logs = ShakyLogs()
    world.use_logs(logs)
    logs.refusals = 99

    def script(live: FakeRun) -> None:
        live.log("one")
        live.finish(GOOD)

    world.sandbox.script = script
    world.add_worker()
    run = world.claimed()
    world.execute(run)
    assert world.status(run) is RunStatus.RUNNING

    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.RUNNING
    assert world.folder(run).path.exists()

    logs.refusals = 0
    world.clock.advance(seconds=31)
    world.recovery().recover_expired()
    assert world.status(run) is RunStatus.COMPLETED
    assert messages(world, run) == ["one"]
    assert not world.folder(run).path.exists()


def test_a_full_disk_keeps_the_outcome_until_there_is_room(world: World) -> None:
    world.blobs = blobs = FullBlobs(world.clock)
    world.content = type(world.content)(blobs)

    def script(live: FakeRun) -> None:
        (live.work / "out" / "a.txt").write_text("x" * 20_000)  # a blob
        live.finish(GOOD)

    world.sandbox.script = script
    world.add_worker()
    run, other = world.claimed(), world.claimed()
    blobs.is_full = True
    world.execute(run)
    assert world.status(run) is RunStatus.RUNNING
    world.clock.advance(seconds=31)
    world.recovery().recover_expired()  # the other one does not wait for it
    assert world.status(run) is RunStatus.RUNNING
    assert world.status(other) is RunStatus.FAILED

    blobs.is_full = False
    world.recovery().recover_expired()
    assert world.status(run) is RunStatus.COMPLETED
    assert [each.name for each in world.runs.list_artifacts(run.id)] == ["a.txt"]


def test_a_store_that_is_down_before_the_start_does_not_fail_the_run(world: World) -> None:
    class AbsentUploads(MemoryUploadStore):
        is_down = False

        def get(self, upload_id: str) -> Upload:
            if self.is_down:
                raise StoreUnavailable("The store is away.")
            return super().get(upload_id)

    world.upload_store = uploads = AbsentUploads(world.references)
    world.runs = type(world.runs)(world.references, uploads)
    world.uploads = type(world.uploads)(
        store=uploads,
        content=world.content,
        clock=world.clock,
        ids=world.ids,
        folder=world.root / "unfinished",
    )
    world.preparation = type(world.preparation)(
        workspace=world.workspace,
        content=world.content,
        uploads=uploads,
        runtimes=world.runtimes,
        environments=world.packages,
    )
    world.add_worker(manifest="exec: {inputs: [{name: data, kind: file}]}\n")
    run = world.claimed(data=world.upload().id)
    uploads.is_down = True
    world.execute(run)
    assert world.status(run) is RunStatus.RUNNING

    uploads.is_down = False
    world.clock.advance(seconds=31)
    world.recovery().recover_expired()
    assert world.status(run) is RunStatus.QUEUED
    assert world.runs.get(run.id).attempt == 1


def test_a_defect_of_ours_ends_the_process_before_the_run_fails(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenLogs(MemoryLogStore):
        def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
            raise ZeroDivisionError

    world.use_logs(BrokenLogs())
    world.sandbox.script = lambda live: live.log("one")
    world.add_worker()
    run = world.claimed()
    alive_at_end: list[RunStatus] = []
    world.sandbox.on_end = lambda _: alive_at_end.append(world.status(run))
    world.execute(run)
    assert alive_at_end == [RunStatus.RUNNING]
    assert world.status(run) is RunStatus.FAILED
    assert "attempt_failed" in caplog.text


def test_a_stop_while_the_store_is_down_leaves_the_outcome_to_the_next_life(world: World) -> None:
    logs = ShakyLogs()
    world.use_logs(logs)
    world.record_seconds = 600
    world.sandbox.script = stay
    world.add_worker()
    run = world.claimed()
    attempt = world.attempt(run)
    thread = threading.Thread(target=attempt.execute)
    thread.start()
    live = world.sandbox.next_start()
    logs.refusals = 99
    live.log("one")
    live.finish(GOOD)
    assert logs.refused.acquire(timeout=DEADLINE_SECONDS)
    attempt.hand_over()
    thread.join(DEADLINE_SECONDS)
    assert world.status(run) is RunStatus.RUNNING
    assert not world.sandbox.ended

    logs.refusals = 0
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.COMPLETED
    assert messages(world, run) == ["one"]
