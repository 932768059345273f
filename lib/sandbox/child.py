"""A run's first process: forked and enclosed before there is a run, then let go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
from dataclasses import dataclass
from typing import Final, NoReturn

from lib.sandbox import privileges, warm, wire
from lib.sandbox.cgroup import Group
from lib.sandbox.confinement import ConfinementError, Enclosure, Tenant
from lib.sandbox.gateway import Gateway
from lib.sandbox.rlimits import Ceilings
from lib.sandbox.warm import WarmStart

F_SETPIPE_SZ: Final = 1031  # fcntl(2); a flooding worker wakes the supervisor less often
PIPE_BYTES: Final = 1024 * 1024
# A limit on processes counts threads too, and those are nobody's business: what
# ends a run is the supervisor's count, this only bounds how far a bomb gets.
TASKS_PER_PROCESS: Final = 8
TASKS_BEYOND_GROUP: Final = 16

_CONFINEMENT: Final = b"c"  # what a report of failure begins with
_START: Final = b"s"


class StartError(Exception):
    """The command could not be executed; the message says why."""


@dataclass(frozen=True)
class Child:
    """The process, with the read ends of its output.

    Attributes:
        pidfd: Readable once the process has ended.
        report: Readable before, where it is the first of a pid namespace: once
            all that it was parent of have ended; see `init_process`.
    """

    pid: int
    pidfd: int
    report: int
    stdout: int
    stderr: int
    _failure: int
    _channel: socket.socket

    @classmethod
    def prepare(
        cls, enclosure: Enclosure, gateway: Gateway, *, uid: int | None, group: Group | None
    ) -> Child | WarmStart:
        """Fork a process that builds its enclosure and waits for `launch`.

        Returns twice for a warm start: the child here, and in the child what it
        is to run once all frames of ours are gone. Whatever goes wrong in the
        child is told by `launch`.

        Raises:
            ConfinementError: the kernel refused the namespaces.
        """
        stdout, stdout_end = _output_pipe()
        stderr, stderr_end = _output_pipe()
        report, report_end = os.pipe()
        failure, failure_end = os.pipe()  # closed by a successful start
        ours, theirs = socket.socketpair()
        pid = enclosure.fork()
        if pid == 0:
            ours.close()
            waiting = _Waiting(
                enclosure, gateway, uid, group, theirs.detach(), report_end, failure_end
            )
            return waiting.become_worker(stdout_end, stderr_end)
        theirs.close()
        for descriptor in (stdout_end, stderr_end, report_end, failure_end):
            os.close(descriptor)
        return cls(pid, os.pidfd_open(pid), report, stdout, stderr, failure, ours)

    def launch(self, request: wire.LaunchRequest) -> None:
        """Let it go; returns when the worker's program runs.

        Raises:
            StartError: there is no such program, or it may not be executed.
            ConfinementError: a layer of the confinement could not be had.
        """
        with self._channel, contextlib.suppress(OSError):  # it has ended, and says why
            self._channel.sendall(request.encode())
        reason = read_all(self._failure)
        if reason:
            self.reap()
            text = reason[1:].decode(errors="replace")
            raise ConfinementError(text) if reason.startswith(_CONFINEMENT) else StartError(text)

    def reap(self) -> int:
        """Wait for the process; return its exit code as a shell reports it."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code


@dataclass(frozen=True)
class _Waiting:
    """The child's side, from the fork to the worker's program."""

    enclosure: Enclosure
    gateway: Gateway
    uid: int | None
    group: Group | None
    channel: int
    report: int
    failure: int

    def become_worker(self, stdout: int, stderr: int) -> WarmStart:
        """Set up, wait, confine, exec; only a warm start returns. Never raises."""
        try:
            self._set_up(stdout, stderr)
            request = self._wait_for_request()
            self.enclosure.admit(self._tenant(request))
        except EOFError:
            os._exit(0)  # there will be no run
        except BaseException as error:  # noqa: BLE001 - the pipe is the only way to tell
            self._fail(_CONFINEMENT, str(error))
        os.umask(0o022)
        if not request.warm:
            self._execute(request)
        return WarmStart(request.command, request.environment)

    def _execute(self, request: wire.LaunchRequest) -> NoReturn:
        program = request.command[0]
        try:
            os.execvpe(program, request.command, request.environment)  # noqa: S606
        except BaseException as error:  # noqa: BLE001 - see `become_worker`
            self._fail(_START, _reason(program, error))

    def _set_up(self, stdout: int, stderr: int) -> None:
        privileges.die_with_parent(signal.SIGKILL)
        connect_streams(stdout, stderr)
        _reset_signals()
        if self.group is not None:
            self.group.join()
        self.enclosure.build(uid=self.uid, report=self.report, listeners=self.gateway.order)
        self.gateway.forget()
        warm.get_ready()
        wire.rehearse()

    def _wait_for_request(self) -> wire.LaunchRequest:
        with socket.socket(fileno=self.channel) as channel:
            return wire.LaunchRequest.receive(channel)

    def _tenant(self, request: wire.LaunchRequest) -> Tenant:
        limits = request.limits
        return Tenant(
            work=request.work,
            ceilings=Ceilings(
                memory_bytes=limits.memory_bytes,
                file_bytes=limits.file_bytes,
                tasks=self._tasks(limits.processes),
                cpu_seconds=limits.cpu_seconds,
            ),
            readable=request.readable,
            uid=self.uid,
            keep=(self.failure,),
        )

    def _tasks(self, processes: int) -> int | None:
        """Only where nobody else's processes count too; a group, which tells, refuses first."""
        layers = self.enclosure.layers
        if not (layers.uid or layers.user_namespace):
            return None
        return task_limit(processes) + (TASKS_BEYOND_GROUP if self.group is not None else 0)

    def _fail(self, kind: bytes, reason: str) -> NoReturn:
        os.write(self.failure, kind + reason.encode(errors="replace"))
        os._exit(127)


def task_limit(processes: int) -> int:
    """Return how many processes and threads the kernel allows a run."""
    return processes * TASKS_PER_PROCESS


def _output_pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with contextlib.suppress(PermissionError):  # over the user's quota the ordinary size does
        fcntl.fcntl(read_end, F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def connect_streams(stdout: int, stderr: int) -> None:
    """Make these the output of this process, and nothing its input."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)  # inheritable; all others close at exec


def _reset_signals() -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _reason(program: str, error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES):
        return f"{program}: {os.strerror(error.errno)}"
    return f"{program} could not be started: {error}"


def read_all(descriptor: int) -> bytes:
    """Read to the end, and close."""
    parts = []
    while part := os.read(descriptor, 4096):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts)
