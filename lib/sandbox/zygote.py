"""The zygote: a small, isolated interpreter that forks a supervisor for each run.

Forking from here takes half a millisecond; starting Python takes thirty, and
the server, with its threads and its memory, must not fork at all.

It is started with an empty environment, listens on a Unix socket in a private
folder, and ends when the server that started it is gone and nothing runs any
more. It is a subreaper: what a killed supervisor leaves behind becomes its
child, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import Final

from lib.sandbox import linux, process_tree
from lib.sandbox.supervisor import supervise
from lib.sandbox.warm import WarmStart, preimport

CHECK_MS: Final = 1_000


def main() -> WarmStart | None:
    """Serve until the server is gone and no run is left.

    The last two arguments are descriptors: the listening socket, and the read
    end of a pipe whose write end the server holds.

    Returns:
        None in the zygote. In a worker's process, what it is to run: by then
        no frame of ours is left above the caller's.
    """
    listener, lifeline = (int(argument) for argument in sys.argv[-2:])
    for descriptor in (listener, lifeline):
        os.set_inheritable(descriptor, False)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # launches hold secrets
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    preimport()
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, shared pages
    connection = Zygote(socket.socket(fileno=listener), lifeline, wake).serve()
    return None if connection is None else _supervise(connection)


def _supervise(connection: socket.socket) -> WarmStart:
    """Supervise one run and end; only the worker's process returns."""
    code = 0
    try:
        warm_start = supervise(connection)
        if warm_start is not None:
            return warm_start
    except EOFError:
        pass  # the server went away before it said what to run
    except BaseException:  # noqa: BLE001 - last stop before the process ends
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


class Zygote:
    """Accepts connections and gives each to a fresh supervisor.

    Args:
        listener: Unix socket to accept on.
        lifeline: At end of file the server is gone.
        wake: Readable after SIGCHLD.
    """

    def __init__(self, listener: socket.socket, lifeline: int, wake: int) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._wake = wake
        self._supervisors: set[int] = set()

    def serve(self) -> socket.socket | None:
        """Loop until there is nobody to serve and nothing to look after.

        Returns:
            None then. In a fresh supervisor's process, its connection.
        """
        poll = select.poll()
        for descriptor in (self._listener.fileno(), self._lifeline, self._wake):
            poll.register(descriptor, select.POLLIN)
        server_is_there = True
        while server_is_there or self._supervisors:
            ready = {descriptor for descriptor, _ in poll.poll(CHECK_MS)}
            if self._lifeline in ready:
                poll.unregister(self._lifeline)
                server_is_there = False
            if self._listener.fileno() in ready:
                connection, _ = self._listener.accept()
                if self._fork_supervisor(connection):
                    return connection
            self._look_after(woken=self._wake in ready, idle=not ready)
        return None

    def _fork_supervisor(self, connection: socket.socket) -> bool:
        """Fork; return whether this is the child."""
        pid = os.fork()
        if pid == 0:
            self._let_go()
            return True
        self._supervisors.add(pid)
        connection.close()
        return False

    def _let_go(self) -> None:
        """In the fresh child: drop what is the zygote's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._listener.close()
        os.close(self._lifeline)
        os.close(self._wake)

    def _look_after(self, *, woken: bool, idle: bool) -> None:
        """Reap supervisors; end what a killed one left behind."""
        if woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        while self._supervisors:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            self._supervisors.discard(pid)
        if woken or idle:
            process_tree.end_below(os.getpid(), spare=frozenset(self._supervisors))
