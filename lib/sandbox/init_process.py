"""Init: what stands between a supervisor and the workers that it has, one after the other.

It is the first process of a pid namespace, parent of all orphans in it, and ends
what a run leaves behind. The worker is not pid 1 itself: pid 1 must reap, and the
kernel spares it the signals that it has no handler for, so a worker would not die
of its own bugs. Where there is no pid namespace it is a subreaper.

It serves many runs and knows none of them: it was forked from a supervisor that
had read nothing yet, and is told no more of a run than its descriptors, its user
and its group. So what a worker inherits from it is what every worker inherits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final, Self

from lib.sandbox import descriptors, privileges, process_tree
from lib.sandbox.cgroup import Group
from lib.sandbox.confinement import ConfinementError, Enclosure

NOT_CONFINED: Final = b"c"  # what a report of failure begins with, see `Order.failure`
NOT_STARTED: Final = b"s"

FAILED: Final = 127  # exit code where no program ran, as a shell reports it
KILLED: Final = 128 + signal.SIGKILL

REASON_BYTES: Final = 4096  # of a report of failure; so much a pipe takes, and gives, at once

_REPORT: Final = struct.Struct("=iQ")
_ORDER_BYTES: Final = 4096
_ORDER_DESCRIPTORS: Final = ("stdout", "stderr", "failure", "channel", "listeners")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run's processes ended, as init saw it.

    Attributes:
        exit_code: The worker's, as a shell reports it: 128 + signal number for a signal.
        cpu_ms: Of all of them.
    """

    exit_code: int
    cpu_ms: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is forked with; the descriptors are the holder's own.

    Attributes:
        stdout: Write end of a pipe, as is `stderr`.
        failure: Write end of the pipe that says why there is no worker; a
            successful start closes it.
        channel: Where the launch will come from, see `wire`; None: it knows already.
        listeners: Where to hand over what listens in its network namespace; None: nowhere.
        uid: User and group to become; None: the server's.
        group: To be counted in.
    """

    stdout: int
    stderr: int
    failure: int
    channel: int | None
    listeners: int | None
    uid: int | None
    group: Group | None

    def send(self, line: socket.socket) -> None:
        """Pass it on.

        Raises:
            OSError: init has ended, or its user has too many descriptors on their way.
        """
        group = None if self.group is None else vars(self.group)
        given = self._descriptors()
        message = json.dumps([list(given), self.uid, group]).encode()
        socket.send_fds(line, [message], list(given.values()))

    @classmethod
    def receive(cls, line: socket.socket) -> Self | None:
        """Wait for one; None: no more will come."""
        data, passed = descriptors.receive(line, _ORDER_BYTES, len(_ORDER_DESCRIPTORS))
        if not data:
            return None
        given, uid, group = json.loads(data)
        named: dict[str, Any] = dict.fromkeys(_ORDER_DESCRIPTORS)
        named |= zip(given, passed, strict=True)
        return cls(**named, uid=uid, group=None if group is None else Group(**group))

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self._descriptors().values():
            os.close(descriptor)

    def refuse(self, kind: bytes, reason: str) -> None:
        """Say why there is no worker."""
        with contextlib.suppress(OSError):  # nobody waits for it
            os.write(self.failure, (kind + reason.encode(errors="replace"))[:REASON_BYTES])

    def _descriptors(self) -> dict[str, int]:
        """Return those that there are, by name."""
        found = {name: getattr(self, name) for name in _ORDER_DESCRIPTORS}
        return {name: number for name, number in found.items() if number is not None}


@dataclass(frozen=True, slots=True)
class InitProcess:
    """Init, seen from its supervisor.

    Attributes:
        line: To it; readable when a run has ended, or init itself has.
    """

    pid: int
    line: socket.socket

    @classmethod
    def fork(cls, enclosure: Enclosure) -> InitProcess | Order:
        """Fork init from a process that has read nothing of any run.

        Returns once here, and once in each worker, with the order that it was
        forked with; no descriptor but those is open there. Not in init itself.

        Raises:
            ConfinementError: the kernel refused the namespaces.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = enclosure.fork_init()
        if pid == 0:
            ours.detach()
            return _serve(enclosure, theirs)
        theirs.close()
        return cls(pid, ours)

    def has_news(self) -> bool:
        """Whether `line` tells of an end: a worker's, or init's own."""
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        return bool(poll.poll(0))

    def ended(self) -> Ended | None:
        """Return how the run has ended that `line` tells of; None: init was killed."""
        with contextlib.suppress(ConnectionResetError):
            data = self.line.recv(_REPORT.size)
            return Ended(*_REPORT.unpack(data)) if data else None
        return None


def _serve(enclosure: Enclosure, line: socket.socket) -> Order:
    """Be init: fork a worker for each order, in which alone this returns."""
    try:
        refusal = _settle_in(enclosure, line.fileno())
        while (order := Order.receive(line)) is not None:
            before = _cpu_ms()
            worker = -1
            try:
                if refusal is not None:
                    raise refusal
                worker = _fork_worker(enclosure, order)
            except ConfinementError as error:
                order.refuse(NOT_CONFINED, str(error))
            if worker == 0:
                os.close(line.detach())
                return order
            order.close()
            code = FAILED if worker < 0 else _wait_for(worker)
            _end_others(enclosure)
            line.send(_REPORT.pack(code, _cpu_ms() - before))
    except OSError:
        pass  # the supervisor was killed, as this process is about to be
    os._exit(0)


def _fork_worker(enclosure: Enclosure, order: Order) -> int:
    """Fork a worker that is in its group. Like `os.fork`.

    Raises:
        ConfinementError: the kernel refused.
    """
    group = order.group
    if group is not None and (folder := group.open()) is not None:
        try:
            return enclosure.fork_worker(folder)
        except ConfinementError:
            pass  # a container may deny that way alone
        finally:
            os.close(folder)
    worker = enclosure.fork_worker()
    if worker == 0 and group is not None:
        try:
            group.join()
        except OSError as error:
            order.refuse(NOT_CONFINED, f"control group: {error}")
            os._exit(FAILED)
    return worker


def _settle_in(enclosure: Enclosure, line: int) -> ConfinementError | None:
    """Become init; return why it cannot have any worker."""
    privileges.die_with_parent(signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    descriptors.close_all_but([line])
    process_tree.adopt_orphans()
    try:
        enclosure.enter()
    except ConfinementError as error:
        return error
    return None


def _cpu_ms() -> int:
    return round(process_tree.reaped_cpu_seconds() * 1000)


def _wait_for(worker: int) -> int:
    """Reap whoever ends, until the worker has; return its exit code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == worker:
            return shell_code(status)


def shell_code(status: int) -> int:
    """Return the exit code that a shell would report: 128 + signal number for a signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _end_others(enclosure: Enclosure) -> None:
    """Kill and reap what the worker left; a process that forks meanwhile is killed next."""
    if not enclosure.layers.pids:
        process_tree.end_below(os.getpid())
        return
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while True:
            os.kill(-1, signal.SIGKILL)  # all of the namespace but its first process, this one
            os.waitpid(-1, 0)
