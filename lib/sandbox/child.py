"""The worker's first process: fork, confine, exec."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
from dataclasses import dataclass
from typing import Final

from lib.sandbox import linux, wire
from lib.sandbox.warm import WarmStart

F_SETPIPE_SZ: Final = 1031  # fcntl(2); a flooding worker wakes the supervisor less often
PIPE_BYTES: Final = 1024 * 1024
MAX_OPEN_FILES: Final = 1024


class StartError(Exception):
    """The command could not be executed; the message says why."""


@dataclass(frozen=True)
class Child:
    """A started process with the read ends of its output.

    Attributes:
        pidfd: Readable once the process has ended.
    """

    pid: int
    pidfd: int
    stdout: int
    stderr: int

    @classmethod
    def start(cls, request: wire.LaunchRequest) -> Child | WarmStart:
        """Start the request's command in `<folder>/work`.

        Returns twice for a warm start: the child here, and in the child what it
        is to run once all frames of ours are gone.

        Raises:
            StartError: there is no such program, or it may not be executed.
        """
        stdout, stdout_end = _output_pipe()
        stderr, stderr_end = _output_pipe()
        failure, failure_end = os.pipe()  # closed by a successful exec
        pid = os.fork()
        if pid == 0:
            return _become_worker(request, stdout_end, stderr_end, failure_end)
        for descriptor in (stdout_end, stderr_end, failure_end):
            os.close(descriptor)
        reason = _read_all(failure)
        if reason:
            os.waitpid(pid, 0)
            raise StartError(reason.decode())
        return cls(pid, os.pidfd_open(pid), stdout, stderr)

    def reap(self) -> int:
        """Wait for the process; return its exit code as a shell reports it."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code


def _output_pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with contextlib.suppress(PermissionError):  # over the user's quota the ordinary size does
        fcntl.fcntl(read_end, F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def _become_worker(
    request: wire.LaunchRequest, stdout: int, stderr: int, failure: int
) -> WarmStart:
    """In the fresh child: set up and exec; only a warm start returns. Never raises."""
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        _connect_streams(stdout, stderr)
        _reset_signals()
        os.chdir(os.path.join(request.folder, "work"))  # noqa: PTH118
        _apply_limits(request.limits)
        os.umask(0o022)
        if request.warm:
            return WarmStart(request.command, request.environment)
        os.execvpe(request.command[0], request.command, request.environment)  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - the pipe is the only way to tell
        os.write(failure, _reason(request.command[0], error).encode())
        os._exit(127)


def _connect_streams(stdout: int, stderr: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)  # inheritable; all others close at exec


def _reset_signals() -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _apply_limits(limits: wire.ProcessLimits) -> None:
    """Limits that the kernel holds for each process; the supervisor holds the tree's."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    # Not RLIMIT_AS: Node reserves gigabytes of address space that it never touches.
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    if limits.cpu_seconds is not None:
        # The hard limit kills a worker that catches SIGXCPU.
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 2))


def _reason(program: str, error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES):
        return f"{program}: {os.strerror(error.errno)}"
    return f"{program} could not be started: {error}"


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 4096):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts)
