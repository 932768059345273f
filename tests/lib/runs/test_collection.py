"""What an ended attempt leaves: outputs, artifacts, notes, an approval."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lib.manifest.models import Manifest
from lib.runs import state
from lib.runs.collection import MAX_ARTIFACTS, MAX_INLINE_ARTIFACTS_BYTES, canonical
from lib.runs.preparation import AttemptFolder
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.records import RunRecord
from lib.storage.stored import MAX_INLINE_BYTES
from tests.lib.runs.fake_sandbox import leave_exit
from tests.lib.runs.world import SEALER, World

Collect = Callable[..., state.Event]


class Ended:
    """An attempt whose worker has ended; the test fills its folder."""

    def __init__(self, world: World, manifest: str) -> None:
        self._world = world
        world.add_worker(manifest=manifest)
        self.run: RunRecord = world.claimed()
        self.folder: AttemptFolder = world.folder(self.run, made=True)
        self.mask: Mask = NO_MASK

    def write(self, path: str, data: bytes = b"x") -> None:
        file = self.folder.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def collect(self, result: Any = None, **fields: Any) -> state.Event:
        if result is not None:
            (self.folder.work / "result.json").write_text(json.dumps(result))
        leave_exit(self.folder.path, **fields)
        return self._world.collection.collect(self.run, self.folder, self.manifest, self.mask)

    @property
    def manifest(self) -> Manifest:
        manifest = self._world.catalogue.get("plain").manifest
        assert manifest is not None
        return manifest


@pytest.fixture
def ended(world: World) -> Callable[[str], Ended]:
    def make(manifest: str = "") -> Ended:
        return Ended(world, manifest)

    return make


def left_by(event: state.Event) -> state.Left:
    left_nothing = state.Started | state.NeverStarted | state.Decided | state.CancelRequested
    assert not isinstance(event, left_nothing)
    return event.left


def artifacts_of(event: state.Event) -> dict[str, str]:
    return {artifact.name: artifact.path for artifact in left_by(event).artifacts}


def failure(event: state.Event) -> tuple[str, str]:
    assert isinstance(event, state.Failed), event
    return event.error.code, event.error.message


def values(world: World, event: state.Event) -> dict[str, Any]:
    assert isinstance(event, state.Completed | state.Proposed), event
    loaded: dict[str, Any] = json.loads(world.content.load_json(event.outputs))
    return loaded


def notes(event: state.Event) -> list[tuple[int, str]]:
    return [(line.seq, line.message) for line in left_by(event).lines]


Make = Callable[..., Ended]


def test_every_regular_file_below_out_is_an_artifact(world: World, ended: Make) -> None:
    attempt = ended()
    attempt.write("out/a.txt", b"one")
    attempt.write("out/sub/b.csv", b"two")
    attempt.write("elsewhere.txt")
    (attempt.folder.work / "out" / "link").symlink_to("/etc/passwd")
    os.mkfifo(attempt.folder.work / "out" / "fifo")

    event = attempt.collect()

    assert artifacts_of(event) == {"a.txt": "out/a.txt", "sub/b.csv": "out/sub/b.csv"}
    assert isinstance(event, state.Completed)
    first, second = event.left.artifacts
    assert (first.size, first.sha256) == (3, hashlib.sha256(b"one").hexdigest())
    assert (first.media_type, second.media_type) == ("text/plain", "text/csv")
    assert (first.data, second.data) == (b"one", b"two")
    assert (first.run_id, first.created_at) == (attempt.run.id, world.clock.now())


def test_small_artifacts_are_kept_with_the_run_and_large_ones_as_blobs(
    world: World, ended: Make
) -> None:
    attempt = ended()
    files = {f"small {number}": b"%d" % number * MAX_INLINE_BYTES for number in range(6)}
    files["large"] = b"x" * (MAX_INLINE_BYTES + 1)
    for name, data in files.items():
        attempt.write(f"out/{name}", data)

    artifacts = {each.name: each for each in left_by(attempt.collect()).artifacts}

    inline = {name for name, each in artifacts.items() if each.data is not None}
    assert sum(artifacts[name].size for name in inline) == MAX_INLINE_ARTIFACTS_BYTES
    assert "large" not in inline
    assert world.blob_keys() == {artifacts[name].sha256 for name in files.keys() - inline}
    for name, data in files.items():
        with world.content.open_stored(artifacts[name].stored) as file:
            assert file.read() == data


def test_files_that_the_worker_lists_are_artifacts_too_each_once(ended: Make) -> None:
    attempt = ended()
    attempt.write("report.bin")
    attempt.write("out/a.txt")
    event = attempt.collect(
        {"status": "success", "artifacts": ["./report.bin", "out/a.txt", "out/./a.txt"]}
    )
    assert artifacts_of(event) == {"report.bin": "report.bin", "a.txt": "out/a.txt"}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "missing", "", "link", "sub", "out//a"])
def test_a_listed_file_that_cannot_be_kept_fails_the_run(ended: Make, path: str) -> None:
    attempt = ended()
    attempt.write("out/kept.txt")
    attempt.write("sub/file")
    (attempt.folder.work / "link").symlink_to("/etc/passwd")
    event = attempt.collect({"status": "success", "artifacts": [path]})
    code, message = failure(event)
    assert code == "output_invalid"
    assert message.startswith(f"Artifact {path} ")


def test_a_file_output_is_described_with_its_address(world: World, ended: Make) -> None:
    attempt = ended(
        "exec: {outputs: [{name: chart, kind: file, path: out/a b.svg, media_type: image/svg+xml}]}\n"
    )
    attempt.write("out/a b.svg", b"<svg/>")
    event = attempt.collect()
    assert values(world, event) == {
        "chart": {
            "name": "a b.svg",
            "path": "out/a b.svg",
            "media_type": "image/svg+xml",
            "size": 6,
            "sha256": hashlib.sha256(b"<svg/>").hexdigest(),
            "url": f"/runs/{attempt.run.id}/artifacts/a%20b.svg",
        }
    }


def test_files_are_kept_of_failed_and_cancelled_runs_too(ended: Make) -> None:
    attempt = ended()
    attempt.write("out/partial.txt")
    failed = attempt.collect(exit_code=1)
    assert failure(failed)[0] == "execution_error"
    assert artifacts_of(failed) == {"partial.txt": "out/partial.txt"}
    cancelled = attempt.collect(exit_code=143, ended_by="cancel")
    assert isinstance(cancelled, state.Cancelled)
    assert artifacts_of(cancelled) == {"partial.txt": "out/partial.txt"}


def test_files_beyond_the_limit_fail_the_run_and_those_before_are_kept(ended: Make) -> None:
    attempt = ended("limits: {output_bytes: 65536}\n")
    attempt.write("out/a", b"x" * 60_000)
    attempt.write("out/b", b"x" * 5_536)
    assert len(artifacts_of(attempt.collect())) == 2
    attempt.write("out/b", b"x" * 5_537)
    event = attempt.collect()
    assert failure(event) == (
        "output_invalid",
        "out/b makes the run's files larger than 65536 bytes (limits.output_bytes).",
    )
    assert artifacts_of(event) == {"a": "out/a"}


def test_a_file_problem_never_hides_the_worker_s_own_error(ended: Make) -> None:
    attempt = ended("limits: {output_bytes: 65536}\n")
    attempt.write("out/a", b"x" * 65_537)
    event = attempt.collect(exit_code=3, stderr_tail="boom\n")
    assert failure(event) == ("execution_error", "The worker exited with code 3: boom")
    assert "limits.output_bytes" in notes(event)[0][1]
    assert isinstance(attempt.collect(exit_code=143, ended_by="cancel"), state.Cancelled)


def test_a_name_that_is_not_utf_8_fails_the_run(ended: Make) -> None:
    attempt = ended()
    attempt.write("out/a.txt")
    (attempt.folder.work / "out" / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    event = attempt.collect()
    assert failure(event) == (
        "output_invalid",
        "A file in out/ has a name that is not UTF-8; rename it.",
    )
    assert artifacts_of(event) == {"a.txt": "out/a.txt"}


def test_two_files_that_would_have_one_name_fail_the_run(ended: Make) -> None:
    attempt = ended("exec: {outputs: [{name: report, kind: file, path: report.csv}]}\n")
    attempt.write("report.csv", b"the output")
    attempt.write("out/report.csv", b"another")
    assert failure(attempt.collect())[1].startswith("Two artifacts have the name report.csv")


def test_a_thousand_files_are_kept_and_one_more_fails_the_run(ended: Make) -> None:
    attempt = ended()
    for number in range(MAX_ARTIFACTS):
        (attempt.folder.work / "out" / f"{number}").touch()
    assert len(artifacts_of(attempt.collect())) == MAX_ARTIFACTS
    attempt.write("out/more")
    event = attempt.collect()
    assert failure(event)[0] == "output_invalid"
    assert "1001 files; at most 1000" in failure(event)[1]


def test_folders_nested_too_deep_fail_the_run(ended: Make) -> None:
    attempt = ended()
    (attempt.folder.work / "out" / "/".join("d" * 70)).mkdir(parents=True)
    assert "nested" in failure(attempt.collect())[1]


def test_notes_follow_the_last_line_of_the_log(world: World, ended: Make) -> None:
    attempt = ended()
    event = attempt.collect({"status": "success", "outputs": {"x": 1, "y": 2}}, last_seq=7)
    assert isinstance(event, state.Completed)
    assert notes(event) == [
        (8, "Output x is not declared in worker.yml and was dropped."),
        (9, "Output y is not declared in worker.yml and was dropped."),
    ]
    line = event.left.lines[0]
    assert (line.stream, line.level, line.at) == ("system", "warning", world.clock.now())


def test_lines_that_the_supervisor_dropped_are_counted(ended: Make) -> None:
    event = ended().collect(dropped_lines=12)
    assert isinstance(event, state.Completed)
    assert event.left.logs_dropped == 12


def test_without_an_exit_record_the_attempt_was_interrupted(world: World, ended: Make) -> None:
    attempt = ended()
    attempt.write("out/a.txt")
    event = world.collection.collect(attempt.run, attempt.folder, attempt.manifest, NO_MASK)
    assert event == state.Interrupted(attempt.run.fence, "The run's supervisor was killed.")


def test_large_outputs_are_kept_as_they_are(world: World, ended: Make) -> None:
    attempt = ended("exec: {outputs: [{name: text, type: string, required: true}]}\n")
    event = attempt.collect({"status": "success", "outputs": {"text": "é" * 100_000}})
    assert values(world, event) == {"text": "é" * 100_000}
    assert isinstance(event, state.Completed)
    assert event.outputs.text is None


GATED = """
approvals: {required: true, label: Send it, expires_after_hours: 5, required_approvals: 2}
exec: {outputs: [{name: b, type: string}, {name: a, type: integer}]}
"""


def proposed(event: state.Event) -> state.Proposed:
    assert isinstance(event, state.Proposed), event
    return event


def test_a_proposal_is_made_of_the_outputs_where_the_worker_names_none(
    world: World, ended: Make
) -> None:
    attempt = ended(GATED)
    event = proposed(attempt.collect({"status": "success", "outputs": {"b": "é", "a": 1}}))
    approval = event.approval
    proposal = '{"a":1,"b":"é"}'
    assert world.content.load_json(approval.proposal) == proposal
    assert approval.proposal_sha256 == hashlib.sha256(proposal.encode()).hexdigest()
    assert json.loads(world.content.load_json(approval.preview)) == proposal
    assert (approval.preview_type, approval.label, approval.required) == ("json", "Send it", 2)
    assert approval.expires_at == world.clock.now() + timedelta(hours=5)
    assert (approval.run_id, approval.worker_id) == (attempt.run.id, "plain")


def test_the_worker_s_own_preview_payload_and_label_win(world: World, ended: Make) -> None:
    decision = {
        "label": "Mail Ada",
        "preview": "# Dear Ada",
        "preview_type": "markdown",
        "preview_payload": {"to": "ada"},
    }
    event = proposed(ended(GATED).collect({"status": "success", "decision_required": decision}))
    assert event.approval.label == "Mail Ada"
    assert event.approval.preview_type == "markdown"
    assert json.loads(world.content.load_json(event.approval.preview)) == "# Dear Ada"
    assert world.content.load_json(event.approval.proposal) == '{"to":"ada"}'


@pytest.mark.parametrize("repeated", [1, 5_000])
def test_what_is_proposed_is_kept_sealed(world: World, ended: Make, repeated: int) -> None:
    """Large values are blobs, and may hold what no record may show: a secret of the worker."""
    value = "tok_4f9a1c88d7e6" * repeated
    decision = {"preview": f"Dear {value}", "preview_payload": {"to": value}}
    result = {"status": "success", "outputs": {"b": value}, "decision_required": decision}
    event = proposed(ended(GATED).collect(result))
    approval = event.approval

    kept = [event.outputs, approval.proposal, approval.preview]
    assert {each.key_id for each in kept} == {SEALER.key_id}
    assert {each.text is None for each in kept} == {repeated > 1}
    assert "tok_4f9a" not in repr(event)
    blobs = [world.content.get(sha256) for sha256 in world.blob_keys()]
    assert len(blobs) == (3 if repeated > 1 else 0)
    assert not any(b"tok_4f9a" in data for data in blobs)
    assert values(world, event) == {"a": None, "b": value}
    assert json.loads(world.content.load_json(approval.proposal)) == {"to": value}
    assert json.loads(world.content.load_json(approval.preview)) == f"Dear {value}"


def test_outputs_of_a_run_that_proposes_nothing_are_plain(world: World, ended: Make) -> None:
    event = ended().collect({"status": "success"})
    assert isinstance(event, state.Completed)
    assert event.outputs.key_id is None


def test_a_proposal_without_any_label_is_named_after_the_worker(ended: Make) -> None:
    event = proposed(ended("approvals: {required: true}\n").collect())
    assert event.approval.label == "Plain"


def test_equal_values_have_one_text() -> None:
    assert canonical({"b": [1, "é"], "a": None}) == canonical({"a": None, "b": [1, "é"]})
    assert canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
