"""What an attempt leaves on record holds no secret of its worker."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lib.runs.masks import mask_error
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.mask import Mask
from lib.storage.records import RunError, RunRecord, RunStatus
from tests.lib.runs.fake_sandbox import FakeRun, leave_exit, leave_log, leave_mark
from tests.lib.runs.world import OWNER, World

KEY = "tok-4f9a1c88"
OTHER = "of-another-worker"
DECLARES = "exec: {secrets: [API_KEY], outputs: [{name: text, type: string}]}\n"
GATED = DECLARES + "approvals: {required: true}\n"


@pytest.fixture
def stored(world: World) -> World:
    """Store a secret that the worker declares, and one that it does not."""
    world.secrets.put("API_KEY", KEY, at=world.clock.now())
    world.secrets.put("OTHER_KEY", OTHER, at=world.clock.now())
    return world


def recorded(world: World, run: RunRecord) -> str:
    """Return all that lists, details and streams show of a run, but inputs and outputs."""
    kept: list[Any] = [
        world.runs.get(run.id).error,
        world.runs.list_events(run.id),
        world.logs.tail(run.id, limit=999),
        [(each.label, each.preview) for each in world.approvals.list_of_run(run.id)],
    ]
    return repr(kept)


def test_lines_and_errors_are_stored_masked(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)

    def script(run: FakeRun) -> None:
        run.log(f"key {KEY}", OTHER)
        run.finish(exit_code=1, stderr_tail=f"Traceback\nKeyError: {KEY}\n")

    stored.sandbox.script = script
    run = stored.executed()
    assert run.error == RunError(
        "execution_error",
        "The worker exited with code 1: KeyError: ***",
        "Traceback\nKeyError: ***",
    )
    lines = [line.message for line in stored.logs.tail(run.id, limit=9)]
    assert lines == ["key ***", OTHER]
    assert KEY not in recorded(stored, run)


def test_an_error_in_the_worker_s_words_is_stored_masked(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    error = {"message": f"{KEY} refused", "detail": f"sent {KEY}"}
    stored.sandbox.script = lambda run: run.finish({"status": "error", "error": error})
    run = stored.executed()
    assert run.error == RunError("execution_error", "*** refused", "sent ***")


def test_an_attempt_that_will_be_tried_again_leaves_no_value_either(stored: World) -> None:
    retry = "retry: {max_attempts: 2, delay_seconds: 0, on: [execution_error]}\n"
    stored.add_worker(manifest=DECLARES + retry)
    stored.sandbox.script = lambda run: run.finish({"status": "error", "error": KEY})
    run = stored.executed()
    assert run.status is RunStatus.QUEUED
    assert run.error == RunError("execution_error", "***")


def test_notes_of_the_engine_are_masked(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    result = {"status": "success", "outputs": {KEY: 1}, "artifacts": [f"../{KEY}"]}
    stored.sandbox.script = lambda run: run.finish(result)
    run = stored.executed()
    assert run.error is not None
    assert "***" in run.error.message
    assert KEY not in recorded(stored, run)


def test_outputs_and_artifacts_are_kept_as_they_are(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)

    def script(run: FakeRun) -> None:
        (run.work / "out" / "a.txt").write_text(KEY)
        run.finish({"status": "success", "outputs": {"text": KEY}})

    stored.sandbox.script = script
    run = stored.executed()
    assert stored.outputs_of(run) == {"text": KEY}
    artifact = stored.runs.find_artifact(run.id, "a.txt")
    assert artifact is not None
    assert artifact.data == KEY.encode()


def test_a_preview_is_stored_masked_and_its_proposal_as_it_is(stored: World) -> None:
    stored.add_worker(manifest=GATED)
    decision = {"label": f"Use {KEY}", "preview": f"with {KEY}", "preview_payload": {"k": KEY}}
    stored.sandbox.script = lambda run: run.finish(
        {"status": "success", "decision_required": decision}
    )
    run = stored.executed()
    approval = stored.approvals.list_of_run(run.id)[0]
    assert (approval.label, approval.preview_type) == ("Use ***", "text")
    assert json.loads(stored.content.load_json(approval.preview)) == "with ***"
    assert json.loads(stored.content.load_json(approval.proposal)) == {"k": KEY}
    assert KEY not in recorded(stored, run)


def test_a_preview_made_of_the_proposal_hides_what_json_would_escape(stored: World) -> None:
    quoted = 'tok"en\nsecret'
    stored.secrets.put("API_KEY", quoted, at=stored.clock.now())
    stored.add_worker(manifest=GATED)
    stored.sandbox.script = lambda run: run.finish(
        {"status": "success", "outputs": {"text": quoted}}
    )
    run = stored.executed()
    approval = stored.approvals.list_of_run(run.id)[0]
    preview = json.loads(stored.content.load_json(approval.preview))
    assert json.loads(preview) == {"text": "***"}
    assert json.loads(stored.content.load_json(approval.proposal)) == {"text": quoted}


def test_taking_a_secret_is_its_last_use_and_showing_a_run_is_none(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    run = stored.claimed()
    used = stored.clock.advance(seconds=5)
    stored.execute(run)
    stored.clock.advance(seconds=5)
    assert stored.masks.of_run(run).text(KEY) == "***"
    uses = {secret.name: secret.last_used_at for secret in stored.secrets.list()}
    assert uses == {"API_KEY": used, "OTHER_KEY": None}


def test_the_sandbox_is_told_which_variables_are_secrets(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    stored.executed()
    assert stored.sandbox.launches[0].secret_names == (
        "API_KEY",
        "FLOOM_RUN_TOKEN",
        "WORKEROS_RUN_TOKEN",
    )


def test_a_secret_that_was_deleted_meanwhile_fails_the_run_by_name(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    run = stored.claimed()
    stored.secrets.delete("API_KEY")
    stored.execute(run)
    error = stored.runs.get(run.id).error
    assert error is not None
    assert error.code == "missing_secret"
    assert "API_KEY was deleted" in error.message
    assert stored.sandbox.launches == []


def test_what_a_restarted_server_collects_is_masked(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    run = stored.claimed()
    folder = stored.folder(run, made=True)
    leave_mark(folder.path)
    leave_log(folder.path, f"key {KEY}")
    (folder.work / "result.json").write_text(json.dumps({"status": "error", "error": KEY}))
    leave_exit(folder.path)
    stored.recovery().recover_own(OWNER, adopt=stored.adopt)
    assert stored.runs.get(run.id).error == RunError("execution_error", "***")
    assert KEY not in recorded(stored, run)


def test_an_outcome_that_cannot_be_masked_is_not_recorded(stored: World) -> None:
    """One damaged record must not keep a server from starting."""
    stored.add_worker(manifest=DECLARES)
    run = stored.claimed()
    folder = stored.folder(run, made=True)
    leave_mark(folder.path)
    (folder.work / "result.json").write_text(json.dumps({"status": "error", "error": KEY}))
    leave_exit(folder.path)

    def damaged(*_: object, **__: object) -> dict[str, str]:
        raise SecretUnreadable("Secret API_KEY cannot be decrypted.")

    stored.secrets.values = damaged  # type: ignore[method-assign]
    stored.recovery().recover_own(OWNER, adopt=stored.adopt)
    error = stored.runs.get(run.id).error
    assert error is not None
    assert error.code == "interrupted"
    assert KEY not in recorded(stored, run)


def test_a_run_whose_tree_is_gone_is_masked_with_all_there_is(stored: World) -> None:
    stored.add_worker(manifest=DECLARES)
    run = stored.start()
    assert stored.masks.of_run(run).text(f"{KEY} {OTHER}") == f"*** {OTHER}"
    elsewhere = replace(run, worker_sha="0" * 40)
    assert stored.masks.of_run(elsewhere).text(f"{KEY} {OTHER}") == "*** ***"


def test_a_code_and_an_absent_detail_stay() -> None:
    error = RunError("timeout", f"about {KEY}")
    assert mask_error(error, Mask([KEY])) == RunError("timeout", "about ***")
