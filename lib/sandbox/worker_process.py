"""A worker's own process, from its fork to its program.

It is forked and enclosed before there is a run, and waits in front of the last
steps, which depend on the run. Then it waits once more, confined, until its
supervisor is ready to watch it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from dataclasses import dataclass
from typing import Final, NoReturn

from lib.sandbox import gateway, privileges, warm, wire
from lib.sandbox.confinement import Enclosure, Shell, Tenant
from lib.sandbox.init_process import FAILED, NOT_CONFINED, NOT_STARTED, Order
from lib.sandbox.memory_keeper import Keeper
from lib.sandbox.new_root import Passage
from lib.sandbox.rlimits import Ceilings
from lib.sandbox.warm import WarmStart

# A limit on processes counts threads too, and those are nobody's business: what
# ends a run is the supervisor's count, this only bounds how far a bomb gets.
TASKS_PER_PROCESS: Final = 8
TASKS_BEYOND_GROUP: Final = 16


@dataclass(frozen=True)
class WorkerProcess:
    """This very process."""

    enclosure: Enclosure
    order: Order

    def start(self) -> WarmStart:
        """Set up, wait for the run, confine, exec; only a warm start returns. Never raises."""
        try:
            start = self._prepare_for_run(self._set_up())
        except (EOFError, ConnectionResetError):
            os._exit(0)  # there will be no run
        except BaseException as error:  # noqa: BLE001 - the pipe is the only way to tell
            self._fail(NOT_CONFINED, str(error))
        if isinstance(start, _Program):
            self._execute(start)
        os.close(self.order.failure)  # which says that the start succeeded
        return start

    def _set_up(self) -> Shell:
        order = self.order
        privileges.die_with_parent(signal.SIGKILL)
        connect_streams(order.stdout, order.stderr)
        listeners = gateway.listeners_for(order.listeners)
        shell = self.enclosure.build(uid=order.uid, listeners=listeners)
        warm.get_ready()
        wire.rehearse()
        return shell

    def _prepare_for_run(self, shell: Shell) -> WarmStart | _Program:
        """Wait for the run, confine, get all ready, wait until it may begin."""
        if self.order.channel is None:
            raise EOFError
        with socket.socket(fileno=self.order.channel) as channel:
            if shell.passage is not None:
                _leave_behind(shell.passage, channel)
            request = wire.LaunchRequest.receive(channel)
            self.enclosure.admit(self._tenant(request, channel), shell)
            os.umask(0o022)
            start = _get_ready(request)
            if not channel.recv(len(wire.GO)):
                raise EOFError
        return start

    def _tenant(self, request: wire.LaunchRequest, channel: socket.socket) -> Tenant:
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
            uid=self.order.uid,
            keep=(self.order.failure, channel.fileno()),
        )

    def _tasks(self, processes: int) -> int | None:
        """Only where nobody else's processes count too; a group, which tells, refuses first."""
        layers = self.enclosure.layers
        if not (layers.uid or layers.user_namespace):
            return None
        return task_limit(processes) + (TASKS_BEYOND_GROUP if self.order.group is not None else 0)

    def _execute(self, program: _Program) -> NoReturn:
        try:
            program.execute()
        except BaseException as error:  # noqa: BLE001 - see `start`
            self._fail(NOT_STARTED, _reason(program.command[0], error))

    def _fail(self, kind: bytes, reason: str) -> NoReturn:
        self.order.refuse(kind, reason)
        os._exit(FAILED)


@dataclass(frozen=True)
class _Program:
    """What is to be executed by this process."""

    command: tuple[str, ...]
    environment: dict[str, str]
    keeper: Keeper

    def execute(self) -> NoReturn:
        """Become the program. Raises OSError."""
        self.keeper.fork()
        os.execvpe(self.command[0], self.command, self.environment)  # noqa: S606


def _get_ready(request: wire.LaunchRequest) -> WarmStart | _Program:
    """Do what can be done before the run may begin: nothing of the worker."""
    if request.warm:
        start = WarmStart(request.command, request.environment)
        start.take_on()
        return start
    reset_signals()
    return _Program(request.command, request.environment, Keeper())


def task_limit(processes: int) -> int:
    """Return how many processes and threads the kernel allows a run, and the keeper of its memory."""
    return processes * TASKS_PER_PROCESS + 1


def connect_streams(stdout: int, stderr: int) -> None:
    """Make these the output of this process, and nothing its input."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)  # inheritable; all others close at exec


def _leave_behind(passage: Passage, channel: socket.socket) -> None:
    """Have the supervisor hold the mounts, so that they do not go when this process ends.

    A last user's end waits for all processors, before it is told. The supervisor does not
    read this: what is under way in a socket is held as long as it is open.
    """
    with contextlib.suppress(OSError):  # too many are under way: it is told a little later then
        socket.send_fds(channel, [wire.MOUNTS], [passage.inside.namespace])


def reset_signals() -> None:
    """Have no signal ignored that a program would not ignore by itself; before it is executed."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _reason(program: str, error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES):
        return f"{program}: {os.strerror(error.errno)}"
    return f"{program} could not be started: {error}"
