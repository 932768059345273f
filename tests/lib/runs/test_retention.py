"""Retention: what is past its time goes, what somebody still names stays."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lib.runs import state
from lib.runs.key_use import KeyUse
from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.ports import RunNotFound
from lib.storage.records import LogLine, RunRecord, RunStatus, StoredAnswer
from lib.storage.stored import Stored
from tests.contract.fused import Fuse, Killed
from tests.contract.samples import Samples
from tests.lib.runs.fake_sandbox import GOOD, FakeRun
from tests.lib.runs.world import World

TEXT = "exec: {inputs: [{name: text, type: textarea}]}\n"


def completed(world: World, **inputs: str) -> RunRecord:
    run = world.claimed(**inputs)
    world.logs.append(run.id, [LogLine(1, world.clock.now(), "info", "stdout", "words")])
    return world.settle(run, state.Completed(run.fence, Stored(2, text="{}")))


def is_gone(world: World, run: RunRecord) -> bool:
    try:
        world.runs.get(run.id)
    except RunNotFound:
        return True
    return False


def test_a_run_goes_days_after_its_end_with_its_log(world: World) -> None:
    world.add_worker()
    old = completed(world)
    world.clock.advance(days=1)
    young = completed(world)
    world.clock.advance(days=89, milliseconds=-2)
    assert world.retention().sweep() == 0
    world.clock.advance(milliseconds=2)
    assert world.retention().sweep() == 1
    assert is_gone(world, old)
    assert world.logs.last_seq(old.id) == 0
    assert not is_gone(world, young)
    assert world.logs.last_seq(young.id) == 1


def test_a_sweep_that_is_killed_leaves_no_log_of_a_run_that_has_gone(world: World) -> None:
    """Whatever the last step was, the next sweep knows of what is left."""
    world.add_worker()
    for steps in range(20):
        run = completed(world)
        world.clock.advance(days=91)
        fuse = Fuse(steps)
        runs, logs = world.runs, world.logs
        world.runs, world.logs = fuse.protect(runs), fuse.protect(logs)
        with suppress(Killed):
            world.retention().sweep()
        world.runs, world.logs = runs, logs
        assert logs.last_seq(run.id) == 0 or not is_gone(world, run)
        world.retention().sweep()
        assert is_gone(world, run)
        assert logs.last_seq(run.id) == 0


def test_a_stop_is_heard_between_batches(world: World) -> None:
    world.add_worker()
    runs = [completed(world) for _ in range(201)]
    world.clock.advance(days=91)
    assert world.retention().sweep(should_stop=lambda: is_gone(world, runs[0])) == 200
    assert not is_gone(world, runs[-1])


def test_runs_that_have_not_ended_stay_however_old(world: World) -> None:
    world.add_worker()
    running, queued = world.claimed(), world.start()
    world.clock.advance(days=900)
    assert world.retention(days=1).sweep() == 0
    assert world.status(running) is RunStatus.RUNNING
    assert world.status(queued) is RunStatus.QUEUED


def test_zero_days_keep_runs_for_ever(world: World) -> None:
    world.add_worker()
    run = completed(world)
    world.clock.advance(days=10_000)
    assert world.retention(days=0).sweep() == 0
    assert not is_gone(world, run)


def test_blobs_of_inputs_and_artifacts_go_with_their_last_run(world: World) -> None:
    world.add_worker(manifest=TEXT)

    def script(run: FakeRun) -> None:
        (run.work / "out" / "a.bin").write_bytes(b"shared" * 5_000)
        run.finish(GOOD)

    world.sandbox.script = script
    first = world.executed(text="x" * 20_000)
    world.clock.advance(days=50)
    second = world.executed(text="y" * 20_000)
    kept = {second.inputs.sha256, world.runs.list_artifacts(second.id)[0].sha256}
    assert len(world.blob_keys()) == 3

    world.clock.advance(days=50)
    assert world.retention().sweep() == 1
    assert is_gone(world, first)
    assert world.blob_keys() == kept
    world.clock.advance(days=50)
    assert world.retention().sweep() == 1
    assert world.blob_keys() == set()


def test_a_blob_that_is_being_put_again_just_now_stays(world: World) -> None:
    world.add_worker(manifest=TEXT)
    run = completed(world, text="x" * 20_000)
    world.clock.advance(days=91)
    world.put(world.content.load_json(run.inputs).encode())  # another start, not yet recorded
    world.retention().sweep()
    assert is_gone(world, run)
    assert world.blob_keys() == {run.inputs.sha256}


def test_more_runs_than_one_batch_go_in_one_sweep(world: World) -> None:
    world.add_worker()
    for _ in range(401):
        completed(world)
    world.clock.advance(days=91)
    reclaimed: list[None] = []
    assert world.retention(reclaim=lambda: reclaimed.append(None)).sweep() == 401
    assert reclaimed == [None]


def test_space_is_reclaimed_only_where_there_is_some(world: World) -> None:
    def never() -> None:
        pytest.fail("nothing was deleted")

    assert world.retention(reclaim=never).sweep() == 0


def test_a_spent_idempotency_key_goes_with_its_answer(world: World) -> None:
    world.add_worker()
    answer = world.content.store_json('"' + "x" * 20_000 + '"')
    world.start(key=KeyUse("scope", "body", lambda run: StoredAnswer(202, answer, run_id=run.id)))
    world.clock.advance(hours=24)
    world.retention(days=0).sweep()
    assert world.blob_keys() == set()


def test_sessions_tokens_and_links_that_are_over_go(world: World) -> None:
    samples = Samples()
    link = samples.link(email="ada@example.com", expires_at=world.clock.now())
    world.account_store.create_link(link)
    tokens = [samples.token("local-user", expires_at=end) for end in (world.clock.now(), None)]
    for token in tokens:
        world.account_store.create_token(token)

    world.retention().sweep()

    assert world.account_store.find_link(link.sha256) is None
    assert world.account_store.list_tokens("local-user", limit=9).rows == (tokens[1],)


def entries_after(world: World, *, retention_days: int, days: int) -> int:
    """Return how many audit entries are left when one has reached an age in days."""
    at = world.clock.now()
    made = AuditEntry(
        id=world.ids.new("aud"), at=at, user_id="local-user", role="admin", method="local",
        http_method="POST", route="/runs", status=202, error_code=None, address="", request_id="x",
    )  # fmt: skip
    world.audit.append(made)
    world.clock.advance(days=days)
    world.retention(days=retention_days).sweep()
    return len(world.audit.list(AuditQuery(), limit=9).rows)


@pytest.mark.parametrize(
    ("retention_days", "days", "left"),
    [(1, 365, 1), (1, 366, 0), (400, 400, 1), (400, 401, 0), (0, 10_000, 1)],
)
def test_audit_entries_stay_a_year_or_as_long_as_runs(
    world: World, retention_days: int, days: int, left: int
) -> None:
    assert entries_after(world, retention_days=retention_days, days=days) == left


def test_space_of_old_audit_entries_is_reclaimed(world: World) -> None:
    world.clock.advance(days=1)
    reclaimed: list[None] = []
    entries_after(world, retention_days=0, days=400)
    world.retention(reclaim=lambda: reclaimed.append(None)).sweep()
    assert reclaimed == [None]


def test_counts_of_windows_that_are_over_go(world: World) -> None:
    for number in range(201):
        world.rates.hit(f"key {number}", now=world.clock.now(), window_seconds=60)
    world.clock.advance(seconds=60)
    world.retention().sweep()
    assert world.rates.delete_expired(now=world.clock.now(), limit=1) == 0
