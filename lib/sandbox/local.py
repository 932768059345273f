"""The local sandbox: a zygote beside the server, a supervisor for each run."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from lib.manifest.policies import Limits
from lib.sandbox import linux, wire
from lib.sandbox.port import Launch, LiveRun, SandboxUnavailable, Signal
from lib.storage.records import SandboxReport

MEBIBYTE: Final = 1024 * 1024
START_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0  # it ends at once when nothing runs
ORPHAN_SECONDS: Final = 8.0  # the supervisor's own grace is 3 s
ENGINE_ROOT: Final = Path(__file__).resolve().parents[2]

_ZYGOTE_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from lib.sandbox.zygote import main; "
    "sys.path.pop(0); start = main(); start and start.run()"
)


def base_python() -> Path:
    """Return the base interpreter's real file, never a virtual environment's or a shim."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return Path(base).resolve()


class LocalSandbox:
    """Runs workers as processes of this host.

    Args:
        folder: Private folder for the zygote's socket.
        mode: `require`, `best_effort` or `off`, as the settings say.
    """

    def __init__(
        self, folder: Path, *, mode: Literal["require", "best_effort", "off"] = "best_effort"
    ) -> None:
        self._folder = folder
        self._mode = mode
        self._lock = threading.Lock()
        self._zygote: _ZygoteProcess | None = None

    def report(self) -> SandboxReport:
        """Return what this version holds: each process's own limits, the tree's end."""
        return SandboxReport(limits="rlimits")

    def prepare(self) -> None:
        """Start the zygote, so that the first run does not wait for it."""
        if self._mode != "require" and sys.platform == "linux":
            self._connect().close()

    def start(self, launch: Launch) -> LiveRun:
        """Start one attempt; see the port."""
        if self._mode == "require":
            raise SandboxUnavailable(
                "FLOOM_SANDBOX=require, but this version cannot isolate files, network, "
                "processes and privileges yet; FLOOM_SANDBOX=best_effort runs workers without."
            )
        if sys.platform != "linux":
            raise SandboxUnavailable("Runs start on Linux only.")
        request = wire.LaunchRequest(
            run_id=launch.run_id,
            fence=launch.fence,
            folder=str(launch.folder),
            command=launch.command,
            environment=dict(launch.environment),
            limits=_process_limits(launch.limits),
            first_seq=launch.first_seq,
            warm=launch.warm and _is_python_file(launch.command),
            secret_names=launch.secret_names,
        )
        connection = self._connect()
        connection.sendall(request.encode())
        return _LiveProcess(connection)

    def has_started(self, folder: Path) -> bool:
        """Whether the supervisor left its mark."""
        return _read_mark(folder) is not None

    def end_orphans(self, folders: Sequence[Path]) -> None:
        """End supervisors and all below them; see the port."""
        pidfds = [pidfd for folder in folders if (pidfd := _open_orphan(folder)) is not None]
        try:
            _end_all(pidfds, signal.SIGTERM)
            # What a killed supervisor leaves behind, the zygote ends.
            _end_all(pidfds, signal.SIGKILL)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)

    def kill(self, folder: Path) -> None:
        """Kill a supervisor; what it leaves behind, the zygote ends."""
        pidfd = _open_orphan(folder)
        if pidfd is None:
            return
        try:
            _end_all([pidfd], signal.SIGKILL)
        finally:
            os.close(pidfd)

    def find_exit(self, folder: Path) -> wire.ExitRecord | None:
        """Return the exit record, if it was written."""
        record = _read_json(folder / "meta" / wire.EXIT_FILE)
        return None if record is None else wire.ExitRecord(**record)

    def close(self) -> None:
        """Let the zygote end once its last run has."""
        with self._lock:
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None

    def _connect(self) -> socket.socket:
        with self._lock:
            if self._zygote is None or not self._zygote.is_alive():
                self._zygote = _ZygoteProcess(self._folder)
            return self._zygote.connect()


def _is_python_file(command: tuple[str, ...]) -> bool:
    """Whether a command is `python FILE ...` with the interpreter that the zygote is."""
    is_python = command[0] == str(base_python())
    return is_python and len(command) > 1 and not command[1].startswith("-")


class _ZygoteProcess:
    """The zygote and the socket it listens on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        # By way of the descriptor: a socket's path holds 107 bytes only, unix(7).
        self._address = f"/proc/self/fd/{self._folder_fd}/zygote.sock"
        (folder / "zygote.sock").unlink(missing_ok=True)
        lifeline, self._lifeline_end = os.pipe()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen(512)
            self._process = _spawn(listener.fileno(), lifeline)
        os.close(lifeline)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_SECONDS)
        connection.connect(self._address)
        return connection

    def close(self) -> None:
        os.close(self._lifeline_end)
        os.close(self._folder_fd)
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # it outlives us while runs do; Popen need not warn


def _spawn(listener: int, lifeline: int) -> subprocess.Popen[bytes]:
    """Start the zygote with exactly these two descriptors and no environment."""
    arguments = [str(ENGINE_ROOT), str(listener), str(lifeline)]
    return subprocess.Popen(
        [str(base_python()), "-I", "-c", _ZYGOTE_PROGRAM, *arguments],
        env={"LANG": "C.UTF-8"},  # the encoding of streams and file names is decided at start
        stdin=subprocess.DEVNULL,
        pass_fds=(listener, lifeline),
    )


class _LiveProcess:
    """A live run at the other end of its connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._words: deque[Signal] = deque()
        self._partial = b""

    def wait(self, timeout_seconds: float) -> Signal:
        """Return the next word of the supervisor, or that there was none."""
        if not self._words:
            self._hear(timeout_seconds)
        return self._words.popleft() if self._words else Signal.TIMEOUT

    def cancel(self) -> None:
        """Ask the supervisor to end the tree; no error when it has ended already."""
        with contextlib.suppress(OSError):
            self._connection.send(wire.CANCEL, socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Close the connection; the supervisor does not mind."""
        self._connection.close()

    def _hear(self, timeout_seconds: float) -> None:
        self._connection.settimeout(timeout_seconds)
        try:
            data = self._connection.recv(4096)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self._words.append(Signal.ENDED)
            return
        *words, self._partial = (self._partial + data).split(b"\n")
        self._words.extend(Signal(_SIGNALS[word + b"\n"]) for word in words)


_SIGNALS: Final = {wire.STARTED: "started", wire.LOG: "log", wire.EXIT: "ended"}


def _process_limits(limits: Limits) -> wire.ProcessLimits:
    return wire.ProcessLimits(
        timeout_seconds=limits.timeout_seconds,
        memory_bytes=limits.memory_mb * MEBIBYTE,
        processes=limits.processes,
        file_bytes=limits.disk_mb * MEBIBYTE,
        log_bytes=limits.log_bytes,
        cpu_seconds=limits.cpu_seconds,
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return value


def _read_mark(folder: Path) -> dict[str, Any] | None:
    return _read_json(folder / "meta" / wire.STARTED_FILE)


def _open_orphan(folder: Path) -> int | None:
    """Return a pidfd of the supervisor that left its mark here, if it still lives."""
    mark = _read_mark(folder)
    if mark is None or mark["boot_id"] != linux.boot_id():
        return None
    try:
        pidfd = os.pidfd_open(mark["pid"])
    except ProcessLookupError:
        return None
    if linux.start_time(mark["pid"]) != mark["start_time"]:  # the pid was given to another
        os.close(pidfd)
        return None
    return pidfd


def _end_all(pidfds: list[int], number: signal.Signals) -> None:
    """Signal those that live and wait until they are gone, ORPHAN_SECONDS at most."""
    poll = select.poll()
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
            poll.register(pidfd, select.POLLIN)
    left = len(pidfds)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left and (ready := poll.poll(max(0.0, deadline - time.monotonic()) * 1000)):
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            left -= 1
