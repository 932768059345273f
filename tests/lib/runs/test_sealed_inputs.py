"""Inputs that are kept sealed, as those of the run that executes a proposal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lib.secrets.cipher import SecretUnreadable
from lib.storage.records import RunChange, RunRecord, RunStatus
from lib.storage.stored import Stored
from tests.lib.runs.fake_sandbox import GOOD, FakeRun
from tests.lib.runs.world import World

VALUE = "tok_4f9a1c88d7e6"
MANIFEST = "exec: {inputs: [{name: who, type: string}]}\n"
UNREADABLE = Stored(40, text="A" * 40, key_id="another")


def started(world: World, inputs: Stored) -> RunRecord:
    """Queue a run whose inputs are kept like this."""
    run = world.start(who="Ada")
    return world.runs.change(run.id, lambda each: RunChange(replace(each, inputs=inputs)))


def sealed(world: World, value: str = VALUE) -> Stored:
    return world.content.store_json(json.dumps({"who": value}), sealed=True)


@pytest.mark.parametrize("repeated", [1, 2_000])
def test_the_process_gets_them_opened(world: World, repeated: int) -> None:
    world.add_worker(manifest=MANIFEST)
    seen: list[dict[str, str]] = []

    def script(live: FakeRun) -> None:
        seen.append(json.loads((live.work / "inputs.json").read_bytes()))
        live.finish(GOOD)

    world.sandbox.script = script
    run = world.claim(started(world, sealed(world, VALUE * repeated)))
    assert VALUE not in repr(run)
    world.execute(run)

    assert world.status(run) is RunStatus.COMPLETED
    assert seen == [{"who": VALUE * repeated}]
    assert world.runs.get(run.id).inputs == run.inputs


def test_a_replay_has_the_same_ones(world: World) -> None:
    world.add_worker(manifest=MANIFEST)
    run = world.lifecycle().replay(started(world, sealed(world)).id, latest=False, by="eve")
    assert world.inputs_of(run) == {"who": VALUE}


def test_a_replay_leaves_out_what_only_the_engine_sets(world: World) -> None:
    """Declared or not: it proposes anew, and holds nothing of what was approved."""
    world.add_worker(manifest=MANIFEST)
    given = {"who": "Ada", "decision": "approved", "approved_output": {"body": VALUE}}
    feedback = {"review_feedback": {"decision": "rejected", "reason": VALUE}}
    inputs = world.content.store_json(json.dumps({**given, **feedback}), sealed=True)

    run = world.lifecycle().replay(started(world, inputs).id, latest=False, by="eve")

    assert world.inputs_of(run) == {"who": "Ada"}
    assert run.inputs.key_id is None


def test_a_run_whose_inputs_cannot_be_opened_fails_by_name_and_the_others_go_on(
    world: World,
) -> None:
    world.add_worker(manifest=MANIFEST)
    world.sandbox.script = lambda live: live.finish(GOOD)
    lost, other = started(world, UNREADABLE), started(world, sealed(world))
    for run in (lost, other):
        world.execute(world.claim(run))

    failed = world.runs.get(lost.id)
    assert failed.error is not None
    assert failed.error.code == "secret_unreadable"
    assert "start it with the other one" in failed.error.message
    assert not world.folder(failed).path.exists()
    assert world.status(other) is RunStatus.COMPLETED


def test_a_damaged_secret_fails_its_run_by_name(world: World) -> None:
    world.add_worker(manifest="exec: {secrets: [API_KEY]}\n")
    world.secrets.put("API_KEY", VALUE, at=world.clock.now())
    run = world.claimed()

    def damaged(*_: object, **__: object) -> dict[str, str]:
        raise SecretUnreadable("Secret API_KEY cannot be decrypted.")

    world.secrets.values = damaged  # type: ignore[method-assign]
    world.execute(run)

    error = world.runs.get(run.id).error
    assert error is not None
    assert (error.code, error.message) == (
        "secret_unreadable",
        "Secret API_KEY cannot be decrypted.",
    )


def test_what_cannot_be_opened_cannot_be_replayed(world: World) -> None:
    world.add_worker(manifest=MANIFEST)
    run = started(world, UNREADABLE)
    with pytest.raises(SecretUnreadable):
        world.lifecycle().replay(run.id, latest=False, by="eve")
    world.lifecycle().cancel(run.id)
    assert world.status(run) is RunStatus.CANCELLED
