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
from typing import Final, NoReturn

from lib.sandbox import linux, process_tree
from lib.sandbox.supervisor import supervise

CHECK_MS: Final = 1_000


def main() -> None:
    """Serve until the server is gone and no run is left.

    The last two arguments are descriptors: the listening socket, and the read
    end of a pipe whose write end the server holds.
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
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, shared pages
    Zygote(socket.socket(fileno=listener), lifeline, wake).serve()


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

    def serve(self) -> None:
        """Loop until there is nobody to serve and nothing to look after."""
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
                self._fork_supervisor()
            self._look_after(woken=self._wake in ready, idle=not ready)

    def _fork_supervisor(self) -> None:
        connection, _ = self._listener.accept()
        pid = os.fork()
        if pid == 0:
            self._become_supervisor(connection)
        self._supervisors.add(pid)
        connection.close()

    def _become_supervisor(self, connection: socket.socket) -> NoReturn:
        """In the fresh child: drop what is the zygote's, then supervise."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            os.close(self._lifeline)
            os.close(self._wake)
            supervise(connection)
            code = 0
        except EOFError:
            code = 0  # the server went away before it said what to run
        except BaseException:  # noqa: BLE001 - last stop before the process ends
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

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
