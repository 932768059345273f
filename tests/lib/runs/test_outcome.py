"""The outcome table of runs.md section 6, row by row, on real folders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.manifest.models import Manifest
from lib.runs.folder import WorkFolder
from lib.runs.outcome import MAX_NOTES, Outcome, evaluate
from lib.runs.outputs import FileOutput
from lib.sandbox.wire import ExitRecord
from lib.storage.records import Phase
from tests.lib.runs.manifests import manifest

OUTPUTS = """
exec:
  outputs:
    - {name: message, type: string, required: true}
    - {name: count, type: integer}
    - {name: report, kind: file, path: out/report.csv, columns: [name, total]}
    - {name: data, kind: file, path: out/data.json, json_required_keys: [rows]}
"""
PLAIN = manifest(OUTPUTS)
FILE_ONLY = manifest(
    "exec: {outputs: [{name: report, kind: file, path: out/r.txt, required: true}]}"
)
GATED = manifest("approvals: {required: false, label: Send it}\n" + OUTPUTS)
ALWAYS_GATED = manifest("approvals: {required: true}\n" + OUTPUTS)
GOOD = {"status": "success", "outputs": {"message": "hi"}}


def ended(**fields: Any) -> ExitRecord:
    values: dict[str, Any] = {
        "fence": 1,
        "exit_code": 0,
        "ended_by": None,
        "problem": None,
        "wall_ms": 10,
        "cpu_ms": 10,
        "max_rss_bytes": 0,
        "last_seq": 0,
        "dropped_lines": 0,
        "stderr_tail": "",
    }
    return ExitRecord(**{**values, **fields})


Judge = Callable[..., Outcome]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    (tmp_path / "out").mkdir()

    def run(
        result: Any = None, spec: Manifest = PLAIN, phase: Phase | None = None, **fields: Any
    ) -> Outcome:
        if isinstance(result, bytes):
            (tmp_path / "result.json").write_bytes(result)
        elif result is not None:
            (tmp_path / "result.json").write_text(json.dumps(result))
        with WorkFolder(tmp_path) as work:
            return evaluate(ended(**fields), work, spec, phase)

    return run


def code(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error.code


def test_exit_0_and_valid_outputs_complete(judge: Judge) -> None:
    outcome = judge({"status": "success", "outputs": {"message": "hi", "count": "3"}})
    assert outcome.outputs == {"message": "hi", "count": 3, "report": None, "data": None}


@pytest.mark.parametrize("status", ["success", "completed"])
def test_both_words_for_success_are_taken(judge: Judge, status: str) -> None:
    assert judge({**GOOD, "status": status}).outputs is not None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ended_by": "timeout", "exit_code": 143}, "timeout"),
        ({"ended_by": "memory_exceeded", "exit_code": 143}, "memory_exceeded"),
        ({"ended_by": "disk_exceeded", "exit_code": 143}, "disk_exceeded"),
        ({"ended_by": "disk_exceeded"}, "disk_exceeded"),
        ({"ended_by": "processes_exceeded", "exit_code": 143}, "processes_exceeded"),
        ({"exit_code": 128 + 24}, "cpu_exceeded"),
        ({"exit_code": 128 + 25}, "disk_exceeded"),
        ({"exit_code": 1, "stderr_tail": "Traceback\nMemoryError\n"}, "memory_exceeded"),
        (
            {"exit_code": 134, "stderr_tail": "FATAL ERROR: JavaScript heap out of memory"},
            "memory_exceeded",
        ),
        ({"exit_code": 3}, "execution_error"),
        ({"exit_code": 137}, "execution_error"),
    ],
)
def test_limit_goes_before_the_result(judge: Judge, fields: dict[str, Any], expected: str) -> None:
    assert code(judge(GOOD, **fields)) == expected


def test_a_limit_names_itself_and_its_value(judge: Judge) -> None:
    error = judge(ended_by="timeout", exit_code=143).error
    assert error is not None
    assert error.message == (
        "The run took longer than 300 s (limits.timeout_seconds) and was ended."
    )


def test_hard_cpu_limit_is_told_from_an_ordinary_kill(judge: Judge) -> None:
    spec = manifest("limits: {cpu_seconds: 1}")
    assert code(judge(None, spec, exit_code=137, cpu_ms=3_000)) == "cpu_exceeded"
    assert code(judge(None, spec, exit_code=137, cpu_ms=10)) == "execution_error"


def test_cancel_goes_before_exit_code_and_result(judge: Judge) -> None:
    assert judge(GOOD, ended_by="cancel", exit_code=143).cancelled


def test_exit_code_goes_before_the_result_but_takes_its_words(judge: Judge) -> None:
    error = judge({"status": "error", "error": {"message": "no rows"}}, exit_code=1).error
    assert error is not None
    assert (error.code, error.message) == ("execution_error", "no rows")


def test_exit_code_without_words_shows_the_last_line_of_stderr(judge: Judge) -> None:
    tail = "Traceback (most recent call last):\n  File 'run.py'\nValueError: bad row 7\n"
    error = judge(exit_code=1, stderr_tail=tail).error
    assert error is not None
    assert error.message == "The worker exited with code 1: ValueError: bad row 7"


def test_killed_by_a_signal_is_said_by_name(judge: Judge) -> None:
    error = judge(exit_code=139).error
    assert error is not None
    assert error.message == "The worker was ended by SIGSEGV."


def test_a_program_that_could_not_start_is_an_execution_error(judge: Judge) -> None:
    assert code(judge(problem="x: No such file", exit_code=127)) == "execution_error"


def test_error_status_carries_the_workers_own_code(judge: Judge) -> None:
    result = {"status": "error", "error": "quota used up", "error_code": "quota_exceeded"}
    error = judge(result).error
    assert error is not None
    assert (error.code, error.message) == ("quota_exceeded", "quota used up")


def test_error_status_without_code_is_an_execution_error(judge: Judge) -> None:
    assert code(judge({"status": "failed"})) == "execution_error"


def test_missing_result_is_one_where_a_value_is_due(judge: Judge) -> None:
    assert code(judge()) == "missing_result"


def test_no_result_is_needed_where_all_required_outputs_are_files(
    judge: Judge, tmp_path: Path
) -> None:
    (tmp_path / "out" / "r.txt").write_text("x")
    outcome = judge(None, FILE_ONLY)
    assert outcome.files == (FileOutput("report", "out/r.txt", None),)


def test_no_result_and_no_file_is_an_invalid_output(judge: Judge) -> None:
    assert code(judge(None, FILE_ONLY)) == "output_invalid"


@pytest.mark.parametrize(
    "result",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"{}",
        b'{"status": "done"}',
        b'{"status": "success", "outputs": []}',
        b'{"status": "success", "outputs": {"message": NaN}}',
        b'{"status": "success", "outputs": {"message": "\\ud800"}}',
        b'{"status": "error", "error_code": "Not A Code"}',
        b"[" * 100_000,
        b'{"status": "success", "decision_required": {"preview_type": "html"}}',
    ],
)
def test_result_of_wrong_shape_is_invalid(judge: Judge, result: bytes) -> None:
    assert code(judge(result)) == "invalid_result"


def test_result_over_5_mib_is_too_large(judge: Judge) -> None:
    assert code(judge(b" " * (6 << 20))) == "result_too_large"


def test_result_that_is_a_link_is_invalid(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "result.json").symlink_to("/etc/passwd")
    outcome = judge()
    assert code(outcome) == "invalid_result"
    assert "root:" not in str(outcome)


def test_result_that_is_a_fifo_does_not_hang(judge: Judge, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    assert code(judge()) == "invalid_result"


@pytest.mark.parametrize(
    ("outputs", "pointer"),
    [
        ({}, "/outputs/message"),
        ({"message": ""}, "/outputs/message"),
        ({"message": None}, "/outputs/message"),
        ({"message": 3}, "/outputs/message"),
        ({"message": "hi", "count": "many"}, "/outputs/count"),
        ({"message": "hi", "report": 7}, "/outputs/report"),
        ({"message": "hi", "report": "out/none.csv"}, "/outputs/report"),
        ({"message": "hi", "report": "../x"}, "/outputs/report"),
        ({"message": "hi", "report": "/etc/passwd"}, "/outputs/report"),
        ({"message": "hi", "report": "out/../../x"}, "/outputs/report"),
        ({"message": "hi", "report": "out"}, "/outputs/report"),
    ],
)
def test_each_bad_output_has_a_pointer(judge: Judge, outputs: dict[str, Any], pointer: str) -> None:
    outcome = judge({"status": "success", "outputs": outputs})
    assert code(outcome) == "output_invalid"
    assert outcome.error is not None
    assert (outcome.error.detail or "").startswith(f"{pointer}: ")


def test_csv_header_must_have_the_columns(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.csv").write_text('name,"to\ntal"\n')
    outcome = judge(GOOD)
    assert outcome.error is not None
    assert outcome.error.detail == "/outputs/report: has no column total"


def test_csv_header_may_have_a_byte_order_mark_and_more_columns(
    judge: Judge, tmp_path: Path
) -> None:
    (tmp_path / "out" / "report.csv").write_bytes("\ufeffname,extra,total\n".encode())
    assert judge(GOOD).error is None


@pytest.mark.parametrize("text", ["[]", "{", '{"row": 1}'])
def test_json_file_must_have_its_keys(judge: Judge, tmp_path: Path, text: str) -> None:
    (tmp_path / "out" / "data.json").write_text(text)
    assert code(judge(GOOD)) == "output_invalid"


def test_output_that_is_a_fifo_or_a_link_is_refused(judge: Judge, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out" / "data.json")
    (tmp_path / "out" / "report.csv").symlink_to("/etc/passwd")
    outcome = judge(GOOD)
    assert outcome.error is not None
    detail = outcome.error.detail or ""
    assert "/outputs/data: out/data.json is not a regular file" in detail
    assert "/outputs/report: out/report.csv leads through a link" in detail


def test_output_below_a_linked_folder_is_refused(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("/etc")
    outcome = judge({"status": "success", "outputs": {"message": "hi", "report": "etc/passwd"}})
    assert code(outcome) == "output_invalid"


def test_undeclared_outputs_are_dropped_with_a_note(judge: Judge) -> None:
    outcome = judge({"status": "success", "outputs": {"message": "hi", "extra": 1}})
    assert outcome.outputs is not None
    assert "extra" not in outcome.outputs
    assert outcome.notes == ("Output extra is not declared in worker.yml and was dropped.",)


def test_however_many_are_dropped_the_notes_are_few(judge: Judge) -> None:
    extra = {f"extra_{number}": 1 for number in range(10_000)}
    notes = judge({"status": "success", "outputs": {"message": "hi", **extra}}).notes
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1] == "9900 more were dropped for the same reason."


def test_a_proposing_run_may_ask_for_a_decision_without_its_outputs(judge: Judge) -> None:
    asked = {"status": "success", "decision_required": {"label": "Send?", "preview": "Dear Ada"}}
    outcome = judge(asked, GATED, Phase.PROPOSE)
    assert outcome.decision is not None
    assert outcome.decision.label == "Send?"


def test_a_worker_that_always_needs_approval_is_asked_for(judge: Judge) -> None:
    outcome = judge(GOOD, ALWAYS_GATED, Phase.PROPOSE)
    assert outcome.decision is not None


def test_an_executing_run_is_never_gated_again(judge: Judge) -> None:
    outcome = judge({**GOOD, "decision_required": {}}, ALWAYS_GATED, Phase.EXECUTE)
    assert outcome.decision is None
    assert outcome.outputs is not None


def test_a_gated_worker_that_does_not_ask_just_completes(judge: Judge) -> None:
    outcome = judge(GOOD, GATED, Phase.PROPOSE)
    assert outcome.decision is None
    assert outcome.outputs is not None


def test_a_worker_without_approvals_cannot_ask(judge: Judge) -> None:
    assert code(judge({**GOOD, "decision_required": {}})) == "invalid_result"
