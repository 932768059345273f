"""What is run: mode, entry, runtime and command, from whatever says so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from lib.manifest.data import Map
from lib.manifest.document import Exec, Runtime, WorkerDocument
from lib.manifest.locate import place_of
from lib.manifest.models import Mode
from lib.manifest.report import Place, Report

SKILL: Final = "SKILL.md"
_SUFFIXES: Final[dict[str, Runtime]] = {
    ".py": "python",
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".sh": "bash",
    ".bash": "bash",
    ".md": "skill",
}
_SCRIPTS: Final[dict[Runtime, str]] = {"python": "run.py", "node": "run.js", "bash": "run.sh"}
_PREFERRED_NAMES: Final = ("default", "main")


@dataclass(frozen=True)
class Start:
    """How a worker is started."""

    mode: Mode
    entry: str | None
    runtime: Runtime
    command: tuple[str, ...] | None


def resolve_start(
    document: WorkerDocument, written: Map, file_names: Collection[str], report: Report
) -> Start:
    """Return how the worker is started, reporting what contradicts itself.

    Explicit mode, then the entry's suffix, then a command with a script
    runtime, then the files that exist: the first that says something decides,
    and any of the first three that disagrees is an error.
    """
    return _Resolver(document, written, frozenset(file_names), report).resolve()


class _Resolver:
    def __init__(
        self, document: WorkerDocument, written: Map, files: frozenset[str], report: Report
    ) -> None:
        self._document = document
        self._exec: Exec = document.exec
        self._written = written
        self._files = files
        self._report = report

    def resolve(self) -> Start:
        entry, entry_place = self._declared_entry()
        mode = self._mode(entry)
        if entry is None:
            entry, entry_place = self._found_entry(mode), self._place("exec", "entry")
        if entry is not None and entry not in self._files:
            message = f"The entry `{entry}` is not among the worker's files."
            self._report.error(entry_place, "missing_entry", message)
        if mode == "agent":
            return self._agent(entry)
        runtime = self._runtime(entry)
        return Start(mode, entry, runtime, self._command(entry, runtime))

    def _place(self, *path: str) -> Place:
        return place_of(self._written, *path)

    def _declared_entry(self) -> tuple[str | None, Place]:
        candidates = [
            (self._exec.entry, self._place("exec", "entry")),
            (self._document.entrypoint, self._place("entrypoint")),
        ]
        declared = [(path, place) for path, place in candidates if path is not None]
        listed = [point.path for point in self._document.entrypoints]
        if not declared:
            return self._listed_entry(), self._place("entrypoints")
        entry, place = declared[0]
        if len(declared) > 1 and declared[1][0] != entry:
            self._contradiction(declared[1][1], f"`exec.entry` says `{entry}`")
        if listed and entry not in listed:
            self._contradiction(self._place("entrypoints"), f"the entry is `{entry}`")
        return entry, place

    def _listed_entry(self) -> str | None:
        points = self._document.entrypoints
        named = [point.path for point in points if point.name in _PREFERRED_NAMES]
        return next(iter([*named, *(point.path for point in points)]), None)

    def _contradiction(self, place: Place, other: str) -> None:
        message = f"`{place.path}` contradicts what else is written: {other}."
        self._report.error(place, "contradiction", message)

    def _mode(self, entry: str | None) -> Mode:
        signals = [
            signal
            for signal in (self._explicit_mode(), _mode_of_entry(entry), self._mode_of_command())
            if signal is not None
        ]
        if not signals:
            return self._mode_of_files()
        mode, said_by = signals[0]
        for other, other_said_by in signals[1:]:
            if other != mode:
                place = self._place("exec", "mode")
                message = f"{said_by} means {mode} mode, but {other_said_by} means {other} mode."
                self._report.error(place, "contradiction", message)
                break
        return mode

    def _explicit_mode(self) -> tuple[Mode, str] | None:
        if self._exec.mode is None:
            return None
        mode: Mode = "agent" if self._exec.mode == "agent" else "script"
        return mode, f"`exec.mode: {self._exec.mode}`"

    def _mode_of_command(self) -> tuple[Mode, str] | None:
        if self._exec.command and self._exec.runtime not in {None, "skill"}:
            return "script", f"`exec.command` with the runtime {self._exec.runtime}"
        return None

    def _mode_of_files(self) -> Mode:
        has_script = any(name in self._files for name in _SCRIPTS.values())
        has_skill = SKILL in self._files
        if has_script and has_skill:
            message = (
                f"The folder holds {SKILL} and a script; say with `exec.entry` which one is run."
            )
            self._report.error(self._place("exec", "entry"), "ambiguous_entry", message)
        if self._exec.runtime == "skill":
            return "agent"
        by_rule = bool(self._exec.command or self._exec.runtime)
        return "agent" if has_skill and not has_script and not by_rule else "script"

    def _found_entry(self, mode: Mode) -> str | None:
        """Return the entry that exists by its usual name."""
        if mode == "agent":
            return SKILL
        if self._exec.command:
            return self._entry_in_command()
        if self._exec.runtime in _SCRIPTS:
            return _SCRIPTS[self._exec.runtime]
        found = [name for name in _SCRIPTS.values() if name in self._files]
        if not found:
            message = f"The folder holds no entry: none of run.py, run.js, run.sh and {SKILL}."
            self._report.error(self._place("exec", "entry"), "missing_entry", message)
            return None
        if len(found) > 1:
            message = f"The folder holds {' and '.join(found)}; `{found[0]}` is run."
            self._report.warning(self._place("exec", "entry"), "ambiguous_entry", message)
        return found[0]

    def _entry_in_command(self) -> str | None:
        """Return the file that a command runs, whether or not it exists."""
        words = [word.removeprefix("./") for word in self._exec.command if word[:1] != "-"]
        named = [word for word in words if word in self._files]
        scripts = [word for word in words[1:] if _runtime_of_path(word) and word[:1] != "/"]
        return next(iter([*named, *scripts]), None)

    def _agent(self, entry: str | None) -> Start:
        if self._exec.command:
            message = "An agent has no command; `exec.command` is ignored."
            self._report.warning(self._place("exec", "command"), "ignored_key", message)
        if self._exec.runtime not in {None, "skill"}:
            message = f"An agent runs its skill; the runtime {self._exec.runtime} is ignored."
            self._report.warning(self._place("exec", "runtime"), "ignored_key", message)
        return Start("agent", entry or SKILL, "skill", None)

    def _runtime(self, entry: str | None) -> Runtime:
        declared = self._exec.runtime
        implied = _runtime_of_command(self._exec.command) or _runtime_of_path(entry)
        if declared == "skill":
            self._contradiction(self._place("exec", "runtime"), "the worker is a script")
            declared = None
        if declared is None:
            if implied is None and entry is not None:
                message = (
                    f"No runtime is known for `{entry}`; set `exec.runtime` or `exec.command`."
                )
                self._report.error(self._place("exec", "runtime"), "unknown_runtime", message)
            return implied or "python"
        if not self._exec.command and implied not in {None, declared}:
            self._contradiction(self._place("exec", "runtime"), f"`{entry}` needs {implied}")
        return declared

    def _command(self, entry: str | None, runtime: Runtime) -> tuple[str, ...]:
        return self._exec.command or (runtime, entry or _SCRIPTS[runtime])


def _mode_of_entry(entry: str | None) -> tuple[Mode, str] | None:
    runtime = _runtime_of_path(entry)
    if runtime is None:
        return None
    return "agent" if runtime == "skill" else "script", f"the entry `{entry}`"


def _runtime_of_path(path: str | None) -> Runtime | None:
    return None if path is None else _SUFFIXES.get(PurePosixPath(path).suffix.lower())


def _runtime_of_command(command: tuple[str, ...]) -> Runtime | None:
    if not command:
        return None
    program = PurePosixPath(command[0]).name
    if program.startswith("python"):
        return "python"
    return "node" if program.startswith("node") else "bash"
