"""A sandbox without processes: it records what it was asked, the test says what happens."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lib.sandbox.port import HostReport, Launch, LiveRun, SandboxMode, Signal
from lib.sandbox.wire import EXIT_FILE, LOG_FILE, STARTED_FILE, ExitRecord
from lib.storage.records import SandboxReport

DEADLINE_SECONDS = 20
GOOD = {"status": "success"}


def exit_record(**fields: Any) -> ExitRecord:
    """Return the record of a worker that exited with 0."""
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


def leave_exit(folder: Path, **fields: Any) -> None:
    """Write how an attempt ended where its supervisor would."""
    (folder / "meta" / EXIT_FILE).write_text(json.dumps(asdict(exit_record(**fields))))


def leave_mark(folder: Path) -> None:
    """Write that an attempt's process is about to exist."""
    (folder / "meta" / STARTED_FILE).write_text("{}")


def leave_log(folder: Path, *messages: str, first_seq: int = 1, stream: str = "stdout") -> None:
    """Add lines to an attempt's log file."""
    with (folder / "meta" / LOG_FILE).open("a") as file:
        for seq, message in enumerate(messages, start=first_seq):
            file.write(json.dumps([seq, 1_767_225_600_000 + seq, stream, message]) + "\n")


class FakeRun:
    """A live run; the test, or the sandbox's script, says what happens next."""

    def __init__(
        self,
        launch: Launch,
        *,
        is_taken: bool = True,
        on_begin: Callable[[FakeRun], None] = lambda _run: None,
    ) -> None:
        self.launch = launch
        self.begin = partial(on_begin, self)
        self.is_taken = is_taken
        self.cancelled = threading.Event()
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self.notes: list[tuple[str, str]] = []
        self._finished = False
        self._signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()

    @property
    def work(self) -> Path:
        return self.launch.folder / "work"

    def say(self, signal: Signal) -> None:
        self._signals.put(signal)

    def log(self, *messages: str, first_seq: int = 1) -> None:
        leave_log(self.launch.folder, *messages, first_seq=first_seq)
        self.say(Signal.LOG)

    def finish(self, result: Any = None, **fields: Any) -> None:
        """End with this result.json and exit record; a second end is none."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
        if result is not None:
            (self.work / "result.json").write_text(json.dumps(result))
        leave_exit(self.launch.folder, **{"fence": self.launch.fence, **fields})
        self.say(Signal.ENDED)

    def wait(self, timeout_seconds: float) -> Signal:
        try:
            return self._signals.get(timeout=timeout_seconds)
        except queue.Empty:
            return Signal.TIMEOUT

    def cancel(self) -> None:
        self.cancelled.set()
        if self.is_taken:
            self.finish(exit_code=143, ended_by="cancel")

    def note(self, level: str, message: str) -> None:
        self.notes.append((level, message))

    def close(self) -> None:
        self.closed.set()


Script = Callable[[FakeRun], None]


def complete(run: FakeRun) -> None:
    """End at once and well."""
    run.finish(GOOD)


def stay(run: FakeRun) -> None:
    """Go on until the test says otherwise."""


class FakeSandbox:
    """Runs `script` for each start; marks and exit records are files, as for the real one."""

    def __init__(self, script: Script = complete) -> None:
        self.script = script
        self.launches: list[Launch] = []  # of what began
        self.made: list[FakeRun] = []
        self.ended: list[Path] = []
        self.killed: list[Path] = []
        self.on_end: Callable[[Path], None] = lambda _folder: None
        self.survives = False
        self.takes_runs = True
        self.ready = True
        self.ailment: Exception | None = None
        self.holds = SandboxReport(limits="fake")
        self.mode: SandboxMode = "best_effort"
        self.refusal: Exception | None = None
        self._runs: dict[Path, FakeRun] = {}
        self._started: queue.SimpleQueue[FakeRun] = queue.SimpleQueue()

    def report_at_hand(self) -> SandboxReport | None:
        return self.holds if self.ready and self.ailment is None else None

    def report(self) -> SandboxReport:
        if self.ailment is not None:
            raise self.ailment
        return self.holds

    def inspect(self) -> HostReport:
        return HostReport(self.mode, self.holds, {"fake": "", "missing": "ENOSYS: not there"})

    def start(self, launch: Launch) -> LiveRun:
        if self.refusal is not None:
            raise self.refusal
        run = self._runs[launch.folder] = FakeRun(
            launch, is_taken=self.takes_runs, on_begin=self._begin
        )
        self.made.append(run)
        return run

    def _begin(self, run: FakeRun) -> None:
        self.launches.append(run.launch)
        if run.is_taken:
            leave_mark(run.launch.folder)
        self._started.put(run)
        self.script(run)

    def next_start(self) -> FakeRun:
        """Return the next started run; wait for it."""
        return self._started.get(timeout=DEADLINE_SECONDS)

    def has_started(self, folder: Path) -> bool:
        return (folder / "meta" / STARTED_FILE).exists()

    def adopt(self, folder: Path) -> LiveRun | None:
        return self._runs.get(folder) if self.survives else None

    def end_orphans(self, folders: Sequence[Path]) -> None:
        self.ended += folders
        for folder in folders:
            self.on_end(folder)

    def kill(self, folder: Path) -> None:
        """End a run without a record, as a killed supervisor would."""
        self.killed.append(folder)
        if self._runs[folder].is_taken:
            self._runs[folder].say(Signal.ENDED)

    def find_exit(self, folder: Path) -> ExitRecord | None:
        path = folder / "meta" / EXIT_FILE
        return ExitRecord(**json.loads(path.read_text())) if path.exists() else None

    def close(self) -> None:
        return
