"""A run's worker, seen from its supervisor: ordered, briefed, and let go.

It is ordered before there is a run. Briefed, it confines itself, and waits again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from dataclasses import dataclass
from io import FileIO
from typing import Final, Self

from lib.sandbox import wire
from lib.sandbox.cgroup import Group
from lib.sandbox.confinement import ConfinementError
from lib.sandbox.gateway import Gateway
from lib.sandbox.init_process import NOT_CONFINED, REASON_BYTES, InitProcess, Order

F_SETPIPE_SZ: Final = 1031  # fcntl(2); a flooding worker wakes the supervisor less often
PIPE_BYTES: Final = 1024 * 1024
BRIEF_SECONDS: Final = 5.0


class StartError(Exception):
    """The command could not be executed, or what was to do it is gone; the message says why."""


@dataclass(frozen=True)
class Child:
    """The worker's process, by the read ends of its output."""

    stdout: int
    stderr: int
    _failure: FileIO
    _channel: socket.socket

    @classmethod
    def order(
        cls, init: InitProcess, gateway: Gateway, *, uid: int | None, group: Group | None
    ) -> Self:
        """Have init fork a process that builds its enclosure and waits for `brief`.

        Whatever goes wrong in it is told by `check`.

        Raises:
            ConfinementError: init was killed, or the kernel passes no descriptor on.
            OSError: there are no descriptors left.
        """
        stdout, stdout_end = _output_pipe()
        stderr, stderr_end = _output_pipe()
        failure, failure_end = os.pipe()  # closed by a successful start
        os.set_blocking(failure, False)
        ours, theirs = socket.socketpair()
        order = Order(
            stdout_end,
            stderr_end,
            failure_end,
            theirs.detach(),
            listeners=gateway.take_child_end(),
            uid=uid,
            group=group,
        )
        child = cls(stdout, stderr, FileIO(failure), ours)
        try:
            order.send(init.line)
        except OSError as error:
            child.close()
            raise ConfinementError(f"no worker could be ordered: {error}") from error
        finally:
            order.close()
        return child

    def brief(self, request: wire.LaunchRequest) -> None:
        """Tell it what it is to run, and return; it is given some seconds to take a large launch."""
        self._channel.settimeout(BRIEF_SECONDS)
        try:
            self._channel.sendall(request.encode())
        except OSError:  # it has ended, or somebody has stopped it: `let_go` will say so
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Let it run that; `check` tells whether it does.

        Raises:
            StartError, ConfinementError: see `check`; it had ended by now.
        """
        try:
            self._channel.sendall(wire.GO)
        except OSError:
            self.check()
            message = "the process that waited for the run was killed"  # and could not say why
            raise StartError(message) from None

    @property
    def outcome(self) -> int:
        """Descriptor that is readable once `check` can tell."""
        return self._failure.fileno()

    def check(self) -> None:
        """Return if the worker's program runs; once. It waits for nobody.

        Raises:
            StartError: there is no such program, or it may not be executed.
            ConfinementError: a layer of the confinement could not be had.
        """
        with self._failure:
            reason = self._failure.read(REASON_BYTES)
        if reason:
            text = reason[1:].decode(errors="replace")
            raise ConfinementError(text) if reason.startswith(NOT_CONFINED) else StartError(text)

    def let_go_of_mounts(self) -> None:
        """Have the mounts end of a worker that has ended: they are held until its end is told."""
        self._channel.close()

    def close(self) -> None:
        """Close the pipes."""
        self._failure.close()
        self.let_go_of_mounts()
        for descriptor in (self.stdout, self.stderr):
            os.close(descriptor)


def _output_pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with contextlib.suppress(PermissionError):  # over the user's quota the ordinary size does
        fcntl.fcntl(read_end, F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end
