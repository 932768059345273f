"""Starting, cancelling and replaying: decided before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lib.errors import FloomError, Invalid
from lib.ids import Ids
from lib.runs import state
from lib.runs.key_use import KeyUse
from lib.runs.lifecycle import StartRequest
from lib.storage.approval_records import ApprovalStatus
from lib.storage.ports import ConcurrencyReached, IdempotencyKeyReused, RunNotFound
from lib.storage.records import (
    Phase,
    RunChange,
    RunQuery,
    RunRecord,
    RunStatus,
    StoredAnswer,
    Trigger,
    WorkerSettings,
)
from lib.storage.stored import Stored
from tests.contract.threads import together
from tests.lib.runs.samples import approval
from tests.lib.runs.world import World

# Everything that a start can be refused for, all at once.
WRONG = """
archived: {archived}
connections: [gmail]
exec:
  secrets: [API_KEY]
  inputs:
    - {{name: who, type: string, required: true}}
    - {{name: data, kind: file, accepts: [.csv]}}
"""
MENDED: list[tuple[str, Callable[[World], object]]] = [
    ("worker_not_found", lambda world: world.write_worker("plain", "exec: {mode: nonsense}\n")),
    ("worker_broken", lambda world: world.write_worker("plain", WRONG.format(archived="true"))),
    ("worker_disabled", lambda world: world.write_worker("plain", WRONG.format(archived="false"))),
    ("worker_disabled", lambda world: enable(world, enabled=True)),
]


def enable(world: World, *, enabled: bool) -> None:
    world.settings.change("plain", lambda each: replace(each, enabled=enabled))


def refusal(world: World, **inputs: Any) -> str:
    with pytest.raises(FloomError) as caught:
        world.start("plain", **inputs)
    return caught.value.code


def runs_of(world: World) -> int:
    return len(world.runs.list(RunQuery(), limit=200).rows)


def key(body: str = "body", scope: str = "scope") -> KeyUse[RunRecord]:
    return KeyUse(scope, body, lambda run: StoredAnswer(202, Stored(2, text="{}"), run_id=run.id))


def test_the_checks_of_a_start_come_in_their_order_and_write_nothing(world: World) -> None:
    enable(world, enabled=False)
    for expected, mend in MENDED:
        assert refusal(world) == expected
        mend(world)
        world.reload()
    upload = world.announce(b"bytes that never come")

    assert refusal(world, data=upload.id) == "validation_failed"
    assert refusal(world, who="Ada", data=upload.id) == "missing_secret"
    world.secrets.put("API_KEY", "value", at=world.clock.now())
    assert refusal(world, who="Ada", data=upload.id) == "missing_connection"
    world.write_worker("plain", WRONG.format(archived="false").replace("[gmail]", "[]"))
    world.reload()
    assert refusal(world, who="Ada", data=upload.id) == "validation_failed"

    assert runs_of(world) == 0
    assert world.bell.rings == 0
    assert world.upload_store.get(upload.id).used_at is None
    assert world.blob_keys() == set()


def test_a_new_run_is_frozen_at_the_tree_of_that_moment(world: World) -> None:
    world.add_worker(manifest="limits: {timeout_seconds: 7}\n")
    run = world.start()
    world.add_worker(manifest="limits: {timeout_seconds: 9}\n")
    again = world.start()

    assert run.commit != again.commit
    assert run.worker_sha != again.worker_sha
    assert run.manifest_digest != again.manifest_digest
    assert run.policy.limits.timeout_seconds == 7
    assert world.runs.get(run.id).policy == run.policy
    assert run.effect_key == run.id
    assert run.phase is None


def test_a_new_run_is_queued_with_its_first_event_and_rings(world: World) -> None:
    world.add_worker()
    run = world.start(priority=8)
    assert world.runs.get(run.id) == run
    assert (run.status, run.priority, run.trigger) == (
        RunStatus.QUEUED,
        8,
        Trigger("manual", None, "ada"),
    )
    assert [event.data["status"] for event in world.runs.list_events(run.id)] == ["queued"]
    assert world.bell.rings == 1


def test_a_worker_with_approvals_proposes_and_is_told_so(world: World) -> None:
    world.add_worker(
        manifest="approvals: {required: false}\nexec: {inputs: [{name: a, type: string}]}\n"
    )
    run = world.start(a="x")
    assert run.phase is Phase.PROPOSE
    assert world.inputs_of(run) == {"a": "x", "decision": "proposed"}


def test_saved_inputs_lie_under_the_given_and_over_the_defaults(world: World) -> None:
    world.add_worker(
        manifest="exec: {inputs: [{name: a, type: string, default: da}, "
        "{name: b, type: string, default: db}, {name: c, type: string, default: dc}]}\n"
    )
    world.settings.change("plain", lambda _: WorkerSettings(True, {"a": "sa", "b": "sb"}))
    assert world.inputs_of(world.start(a="ga")) == {"a": "ga", "b": "sb", "c": "dc"}


def test_inputs_of_any_size_are_frozen(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: text, type: textarea}]}\n")
    run = world.start(text="é" * 20_000)
    assert run.inputs.sha256 is not None
    assert world.inputs_of(run) == {"text": "é" * 20_000}


def test_an_upload_in_use_is_marked_before_the_run_exists(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: data, kind: file}]}\n")
    upload = world.upload()
    world.start(data=upload.id)
    assert world.upload_store.get(upload.id).used_at == world.clock.now()


def test_a_worker_that_rather_skips_refuses_a_further_run(world: World) -> None:
    world.add_worker(manifest="concurrency: {max: 1, on_limit: skip}\n")
    world.start()
    with pytest.raises(ConcurrencyReached):
        world.start()
    assert runs_of(world) == 1


def test_the_same_key_and_body_are_one_run_from_any_number_of_callers(world: World) -> None:
    world.add_worker()
    lifecycle = world.lifecycle()
    request = StartRequest(worker_id="plain", inputs={}, trigger=Trigger("manual"), key=key())

    created = together(lambda _: lifecycle.start(request), 8)

    runs = [each.run for each in created if not isinstance(each, Exception) and each.run]
    answers = [each.replayed for each in created if not isinstance(each, Exception)]
    assert len(runs) == 1
    assert {each.run_id for each in answers if each} == {runs[0].id}
    assert answers.count(None) == 1
    assert runs_of(world) == 1


def test_a_key_with_another_body_is_refused_and_free_again_after_a_day(world: World) -> None:
    world.add_worker()
    world.start(key=key())
    with pytest.raises(IdempotencyKeyReused):
        world.start(key=key("other"))
    assert runs_of(world) == 1
    world.clock.advance(hours=24)
    world.start(key=key("other"))
    assert runs_of(world) == 2


def test_a_repeated_start_rings_nobody(world: World) -> None:
    world.add_worker()
    world.start(key=key())
    creation = world.lifecycle().start(
        StartRequest(worker_id="plain", inputs={}, trigger=Trigger("manual"), key=key())
    )
    assert creation.run is None
    assert world.bell.rings == 1


def test_a_queued_run_is_cancelled_at_once(world: World) -> None:
    world.add_worker()
    run = world.lifecycle().cancel(world.start().id)
    assert run.status is RunStatus.CANCELLED
    assert run.cancel_requested_at == run.finished_at == world.clock.now()
    assert world.cancels.run_ids == []
    assert world.signals.heard == [run.id]


def test_a_run_that_waits_for_its_retry_is_cancelled_at_once(world: World) -> None:
    world.add_worker(manifest="retry: {max_attempts: 2}\n")
    run = world.claimed()
    world.settle(run, state.Interrupted(run.fence, "gone"))
    assert world.lifecycle().cancel(run.id).status is RunStatus.CANCELLED
    assert world.runs.next_due() is None


def test_of_a_running_run_the_process_tree_is_ended_first(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    marked = world.lifecycle().cancel(run.id)
    assert marked.status is RunStatus.RUNNING
    assert marked.cancel_requested_at == world.clock.now()
    assert world.cancels.run_ids == [run.id]


def test_a_second_cancel_keeps_the_time_of_the_first(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    first = world.lifecycle().cancel(run.id).cancel_requested_at
    world.clock.advance(seconds=1)
    assert world.lifecycle().cancel(run.id).cancel_requested_at == first


def test_a_cancelled_proposal_takes_its_approval_along(world: World) -> None:
    world.add_worker(manifest="approvals: {required: true}\n")
    run = world.claimed()
    asked = approval(run, world.clock.now())
    world.settle(run, state.Proposed(run.fence, asked, Stored(2, text="{}")))
    older = replace(asked, id="apr_1", status=ApprovalStatus.REJECTED)
    world.runs.change(run.id, lambda each: RunChange(each, approval=older))

    assert world.lifecycle().cancel(run.id).status is RunStatus.CANCELLED
    statuses = {each.id: each.status for each in world.approvals.list_of_run(run.id)}
    assert statuses == {"apr_0": ApprovalStatus.CANCELLED, "apr_1": ApprovalStatus.REJECTED}
    assert world.cancels.run_ids == []


@pytest.mark.parametrize("ending", ["complete", "cancel"])
def test_a_finished_run_cannot_be_cancelled(world: World, ending: str) -> None:
    world.add_worker()
    run = world.claimed()
    if ending == "complete":
        world.settle(run, state.Completed(run.fence, Stored(2, text="{}")))
    else:
        world.settle(run, state.Cancelled(run.fence))
    with pytest.raises(state.RunStateConflict):
        world.lifecycle().cancel(run.id)
    assert world.signals.heard == []


def test_an_unknown_run_can_be_neither_cancelled_nor_replayed(world: World) -> None:
    run_id = Ids(world.clock).new("run")
    with pytest.raises(RunNotFound):
        world.lifecycle().cancel(run_id)
    with pytest.raises(RunNotFound):
        world.lifecycle().replay(run_id, latest=False, by="ada")


def test_a_replay_runs_the_same_tree_with_the_same_inputs(world: World) -> None:
    manifest = (
        "exec: {inputs: [{name: who, type: string, default: Ada}, {name: note, type: string}]}\n"
    )
    world.add_worker(manifest=manifest)
    old = world.start(who="Bob", priority=7)
    world.add_worker(manifest=manifest.replace("Ada", "Eve"))
    world.settings.change("plain", lambda _: WorkerSettings(True, {"note": "new", "who": "Eve"}))

    run = world.lifecycle().replay(old.id, latest=False, by="eve")

    assert (run.worker_sha, run.commit, run.priority) == (old.worker_sha, old.commit, 7)
    assert world.inputs_of(run) == {"who": "Bob"}
    assert run.trigger == Trigger("replay", old.id, "eve")
    assert run.parent_run_id == old.id
    assert run.effect_key == run.id != old.effect_key


def test_a_replay_of_the_latest_runs_the_present_tree(world: World) -> None:
    world.add_worker()
    old = world.start()
    world.add_worker(manifest="tags: [new]\n")
    run = world.lifecycle().replay(old.id, latest=True, by="eve")
    current = world.catalogue.get("plain")
    assert (run.worker_sha, run.commit) == (current.worker.sha, current.commit)
    assert run.worker_sha != old.worker_sha


def test_a_replay_of_the_latest_must_fit_the_new_inputs(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: old, type: string}]}\n")
    run = world.start(old="x")
    world.add_worker(manifest="exec: {inputs: [{name: new, type: string}]}\n")
    with pytest.raises(Invalid):
        world.lifecycle().replay(run.id, latest=True, by="eve")
    assert runs_of(world) == 1


def test_a_replay_is_decided_anew(world: World) -> None:
    world.add_worker(manifest="approvals: {required: true}\n")
    old = world.start()
    run = world.lifecycle().replay(old.id, latest=False, by="eve")
    assert run.phase is Phase.PROPOSE
    assert world.inputs_of(run) == {"decision": "proposed"}


def test_a_replay_keeps_using_the_upload(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: data, kind: file}]}\n")
    upload = world.upload()
    old = world.start(data=upload.id)
    world.clock.advance(hours=48)
    world.retention().sweep()
    run = world.lifecycle().replay(old.id, latest=False, by="eve")
    assert world.inputs_of(run) == {"data": upload.id}
    assert run.created_at - old.created_at == timedelta(hours=48)
