"""The zygote, seen from the server: its process, its socket, what it reported."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from lib.sandbox.port import SandboxUnavailable
from lib.sandbox.runtimes import base_python
from lib.sandbox.wire import ZygoteSettings

ENGINE_ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0  # it ends at once when nothing runs
MAX_RUNS: Final = 500
MAX_SECONDS: Final = 600.0
BACKLOG: Final = 512

# What it is told comes by its standard input: its arguments can be read in /proc, also
# by a worker, whose own they are: it was forked by way of supervisor and init, not executed.
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.stdin.readline()[:-1]); "
    "from lib.sandbox.zygote import main; sys.path.pop(0); start = main(); start and start.run()"
)


class ZygoteProcess:
    """One zygote, from its start until the server lets go of it.

    Args:
        folder: Private folder for its socket.

    Attributes:
        found: What its probe found, see `Probe.summary`; None: it confines nothing.

    Raises:
        SandboxUnavailable: it did not start.
    """

    def __init__(self, folder: Path, settings: ZygoteSettings) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(settings.stage).mkdir(exist_ok=True)
        self._name = f"zygote-{time.monotonic_ns()}.sock"
        try:
            report = self._start(folder, settings)
        except OSError as error:
            raise SandboxUnavailable(
                f"The process that starts workers cannot be started now: {error.strerror}."
            ) from error
        self.found = self._hear_report(report)
        self._started = time.monotonic()
        self._runs = 0

    def _start(self, folder: Path, settings: ZygoteSettings) -> int:
        """Start it; return the descriptor that its report comes by. What fails leaves nothing."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            undo.callback(os.close, self._folder_fd)
            lifeline, self._lifeline_end = os.pipe()
            theirs.callback(os.close, lifeline)
            undo.callback(os.close, self._lifeline_end)
            report, report_end = os.pipe()
            undo.callback(os.close, report)
            theirs.callback(os.close, report_end)
            listener = theirs.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(f"/proc/self/fd/{self._folder_fd}/{self._name}")
            undo.callback(os.unlink, self._name, dir_fd=self._folder_fd)
            listener.listen(BACKLOG)
            self._process = _spawn(listener.fileno(), lifeline, report_end, settings)
            undo.pop_all()
        return report

    @property
    def is_worn(self) -> bool:
        """Whether another should take its place."""
        return self._runs >= MAX_RUNS or time.monotonic() - self._started > MAX_SECONDS

    def is_alive(self) -> bool:
        """Whether its process still runs."""
        return self._process.poll() is None

    def connect(self) -> socket.socket:
        """Return a connection that it will pass on to a supervisor.

        Raises:
            OSError: it has ended, or is about to.
        """
        self._runs += 1
        return _connect(self._folder_fd, self._name)

    def retire(self) -> None:
        """Let it end when its last run has; take no new one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder_fd)
        os.close(self._lifeline_end)
        os.close(self._folder_fd)
        self._lifeline_end = -1

    def close(self) -> None:
        """Let it end, and wait a moment for that."""
        if self._lifeline_end >= 0:
            self.retire()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # it outlives us while runs do; Popen need not warn

    def _hear_report(self, descriptor: int) -> dict[str, dict[str, str]] | None:
        with os.fdopen(descriptor, "rb") as file:
            ready, _, _ = select.select([file], [], [], START_SECONDS)
            try:
                found: dict[str, dict[str, str]] | None = json.loads(file.read() if ready else b"")
            except ValueError:
                self.close()
                raise SandboxUnavailable(
                    "The process that starts workers did not start; the server's output says why."
                ) from None
        return found


def connect_below(folder: Path, name: str) -> socket.socket:
    """Return a connection to a Unix socket, however long its path is.

    Raises:
        OSError: nobody listens there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _connect(descriptor, name)
    finally:
        os.close(descriptor)


def _connect(folder: int, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(START_SECONDS)
    try:
        # By way of the descriptor: a socket's path holds 107 bytes only, unix(7).
        connection.connect(f"/proc/self/fd/{folder}/{name}")
    except OSError:
        connection.close()
        raise
    return connection


def remove_old_sockets(folder: Path) -> None:
    """Remove what killed servers left."""
    for path in folder.glob("zygote-*.sock"):
        path.unlink(missing_ok=True)


def _spawn(
    listener: int, lifeline: int, report: int, settings: ZygoteSettings
) -> subprocess.Popen[bytes]:
    """Start the zygote with exactly these descriptors and no environment."""
    descriptors = (listener, lifeline, report)
    process = subprocess.Popen(
        [str(base_python()), "-I", "-c", _PROGRAM, *map(str, descriptors)],
        env={"LANG": "C.UTF-8"},  # the encoding of streams and file names is decided at start
        stdin=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,  # a Ctrl-C in the server's terminal is the server's
    )
    told = f"{ENGINE_ROOT}\n{settings.encode()}".encode()
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(told)
    return process
