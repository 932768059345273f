"""What an attempt amounts to: the table of runs.md section 6, in its order.

Limit, cancel, exit code, result shape, decision, outputs: the first that says
something decides.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lib.manifest.models import Manifest
from lib.runs.folder import WorkFolder
from lib.runs.outputs import FileOutput, OutputProblem, read_outputs
from lib.runs.result_file import Decision, ResultFile, ResultProblem, read_result
from lib.sandbox.wire import ExitRecord
from lib.storage.records import Phase, RunError

_OUT_OF_MEMORY: Final = re.compile(
    r"^MemoryError\b|JavaScript heap out of memory|Cannot allocate memory|std::bad_alloc",
    re.MULTILINE,
)
_STDERR_LINES: Final = 5
MAX_NOTES: Final = 100  # they are written with the outcome, while every other writer waits
_SIGNAL_NAMES: Final = {each.value: each.name for each in signal.Signals}  # some numbers have none


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. Exactly one of the first four is set.

    Attributes:
        outputs: Values by name, files as FileOutput; the run is complete.
        decision: The run proposes; `outputs` holds what there is.
        notes: Lines for the run's log.
        named_artifacts: Paths that the worker listed.
    """

    outputs: dict[str, Any] | None = None
    decision: Decision | None = None
    error: RunError | None = None
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    named_artifacts: tuple[str, ...] = ()
    files: tuple[FileOutput, ...] = field(default=())


def evaluate(
    exit_record: ExitRecord, work: WorkFolder, manifest: Manifest, phase: Phase | None
) -> Outcome:
    """Return the outcome of an attempt whose process tree is gone."""
    if exit_record.is_unconfined:
        sentence = (
            f"The worker could not be confined, so it was not started: {exit_record.problem}."
        )
        return _failed("sandbox_unavailable", sentence)
    if exit_record.problem is not None:
        return _failed("execution_error", f"The worker could not be started: {exit_record.problem}")
    if limit := _limit_error(exit_record, manifest):
        return Outcome(error=limit)
    if exit_record.ended_by == "cancel":
        return Outcome(cancelled=True)
    try:
        result = read_result(work)
    except ResultProblem as problem:
        if exit_record.exit_code:
            return Outcome(error=_exit_error(exit_record, None))
        return _failed(problem.code, str(problem))
    if exit_record.exit_code:
        return Outcome(error=_exit_error(exit_record, result))
    return _judge(result, work, manifest, phase)


def _judge(
    result: ResultFile | None, work: WorkFolder, manifest: Manifest, phase: Phase | None
) -> Outcome:
    """Judge a worker that exited with 0."""
    if result is None:
        if any(spec.required and not spec.is_file for spec in manifest.outputs):
            return _failed("missing_result", "The worker ended without writing result.json.")
        result = ResultFile(status="success")
    if result.is_error:
        return Outcome(error=_reported_error(result), named_artifacts=tuple(result.artifacts))
    if result.decision_required and manifest.approvals is None:
        return _failed(
            "invalid_result",
            "result.json asks for a decision, but worker.yml has no `approvals` key.",
        )
    decision = _decision(result, manifest, phase)
    return _with_outputs(result, decision, work, manifest)


def _with_outputs(
    result: ResultFile, decision: Decision | None, work: WorkFolder, manifest: Manifest
) -> Outcome:
    read = read_outputs(result.outputs, work, manifest, required=decision is None)
    named = tuple(result.artifacts)
    if read.problems:
        return Outcome(error=_output_error(read.problems), named_artifacts=named)
    return Outcome(
        outputs=read.values,
        decision=decision,
        notes=_notes(read.undeclared),
        named_artifacts=named,
        files=read.files,
    )


def _notes(undeclared: Sequence[str]) -> tuple[str, ...]:
    notes = [
        f"Output {name} is not declared in worker.yml and was dropped."
        for name in undeclared[:MAX_NOTES]
    ]
    if more := undeclared[MAX_NOTES:]:
        notes.append(f"{len(more)} more were dropped for the same reason.")
    return tuple(notes)


def _decision(result: ResultFile, manifest: Manifest, phase: Phase | None) -> Decision | None:
    """Return what is to be decided; only a proposing run asks."""
    if phase is not Phase.PROPOSE or manifest.approvals is None:
        return None
    if result.decision_required:
        return result.decision_required
    return Decision() if manifest.approvals.required else None


def _limit_error(exit_record: ExitRecord, manifest: Manifest) -> RunError | None:
    limits = manifest.limits
    sentences = {
        "timeout": f"The run took longer than {limits.timeout_seconds} s "
        "(limits.timeout_seconds) and was ended.",
        "cpu_exceeded": f"The run used more than {limits.cpu_seconds} s of CPU time "
        "(limits.cpu_seconds) and was ended.",
        "memory_exceeded": f"The run needed more than {limits.memory_mb} MiB of memory "
        "(limits.memory_mb).",
        "disk_exceeded": f"The run's files grew beyond {limits.disk_mb} MiB "
        "(limits.disk_mb), or lie in folders that cannot be looked into.",
        "processes_exceeded": f"The run had more than {limits.processes} processes "
        "(limits.processes) and was ended.",
    }
    code = _limit_code(exit_record, limits.cpu_seconds)
    return None if code is None else RunError(code, sentences[code], _last_lines(exit_record))


def _limit_code(exit_record: ExitRecord, cpu_seconds: int | None) -> str | None:
    if exit_record.ended_by not in (None, "cancel"):
        return exit_record.ended_by
    killed_by = exit_record.exit_code - 128
    if killed_by == signal.SIGXFSZ:
        return "disk_exceeded"
    if killed_by == signal.SIGXCPU or (
        cpu_seconds is not None
        and killed_by == signal.SIGKILL
        and exit_record.cpu_ms >= cpu_seconds * 1000
    ):
        return "cpu_exceeded"
    if exit_record.exit_code and _OUT_OF_MEMORY.search(exit_record.stderr_tail):
        return "memory_exceeded"
    return None


def _exit_error(exit_record: ExitRecord, result: ResultFile | None) -> RunError:
    """Explain an exit code other than 0, in the worker's words where it left some."""
    code = exit_record.exit_code
    words = result.worker_error if result else None
    if words is not None:
        return RunError("execution_error", words.message, words.detail)
    ended = f"The worker exited with code {code}"
    if code - 128 in _SIGNAL_NAMES:
        ended = f"The worker was ended by {_SIGNAL_NAMES[code - 128]}"
    lines = _last_lines(exit_record)
    last = lines.rpartition("\n")[2] if lines else ""
    return RunError("execution_error", f"{ended}: {last}" if last else f"{ended}.", lines)


def _reported_error(result: ResultFile) -> RunError:
    words = result.worker_error
    return RunError(
        result.error_code or "execution_error",
        words.message if words else "The worker reported an error without a message.",
        words.detail if words else None,
    )


def _output_error(problems: tuple[OutputProblem, ...]) -> RunError:
    listed = [f"{problem.pointer}: {problem.detail}" for problem in problems]
    return RunError(
        "output_invalid", f"Outputs are not as declared: {listed[0]}", "\n".join(listed)
    )


def _last_lines(exit_record: ExitRecord) -> str | None:
    lines = [line for line in exit_record.stderr_tail.splitlines() if line.strip()]
    return "\n".join(lines[-_STDERR_LINES:]) or None


def _failed(code: str, message: str) -> Outcome:
    return Outcome(error=RunError(code, message))
