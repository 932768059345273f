"""The zygote: a small, isolated interpreter that keeps supervisors waiting for runs.

Forking from here takes half a millisecond; starting Python takes thirty, and
the server, with its threads and its memory, must not fork at all.

It is started with an empty environment and a listening Unix socket in a private
folder, and ends when the server that started it is gone and nothing runs any
more. What waits has forked and enclosed the first process of its run already:
only what depends on the run is left to do when it comes. It is a subreaper:
what a killed supervisor leaves behind becomes its child, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from lib.sandbox import namespaces, privileges, process_tree
from lib.sandbox.intake import TAKEN, Intake
from lib.sandbox.premises import Premises
from lib.sandbox.probe import Probe
from lib.sandbox.process_names import boot_id
from lib.sandbox.supervisor import supervise
from lib.sandbox.warm import WarmStart, hide_our_modules, preimport
from lib.sandbox.wire import ZygoteSettings

CHECK_MS: Final = 1_000
PAUSE_SECONDS: Final = 0.05


def main() -> WarmStart | None:
    """Serve until the server is gone and no run is left.

    The arguments are three descriptors: the listening socket, the read end of a
    pipe whose write end the server holds, the write end of a pipe for the
    report. The settings are what is left of the standard input.

    Returns:
        None in the zygote. In a worker's process, what it is to run: by then
        no frame of ours is left above the caller's.
    """
    listener, lifeline, report = (int(argument) for argument in sys.argv[-3:])
    settings = ZygoteSettings.decode(sys.stdin.read())
    for descriptor in (listener, lifeline, report):
        os.set_inheritable(descriptor, False)
    os.set_blocking(listener, False)
    process_tree.adopt_orphans()
    privileges.set_dumpable(dumpable=False)  # launches hold secrets
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preimport()
    boot_id()  # remembered by all that are forked
    premises, found = Premises.find(settings)
    _report(report, found)
    wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    hide_our_modules()
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, shared pages
    zygote = Zygote(listener, lifeline, wake, spares=settings.spares, sweep=premises.sweep)
    intake = zygote.serve()
    return None if intake is None else _supervise(premises, intake)


def _report(descriptor: int, found: Probe | None) -> None:
    """Say what the probe found: one JSON object, `null` when nothing is confined."""
    # A server that was killed while it started does not read it any more.
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w") as file:
        json.dump(None if found is None else found.summary(), file)


def _supervise(premises: Premises, intake: Intake) -> WarmStart:
    """Supervise one run and end; only the worker's process returns."""
    code = 0
    try:
        warm_start = supervise(premises, intake)
        if warm_start is not None:
            return warm_start
    except EOFError:
        pass  # the server went away before it said what to run
    except BaseException:  # noqa: BLE001 - last stop before the process ends
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


class Zygote:
    """Keeps a number of supervisors waiting, and reaps all.

    Args:
        listener: Unix socket that they accept on.
        lifeline: At end of file the server is gone.
        wake: Readable after SIGCHLD.
        spares: How many wait.
        sweep: Called when a supervisor was killed and nothing of its run is left.
    """

    def __init__(
        self, listener: int, lifeline: int, wake: int, *, spares: int, sweep: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._wake = wake
        self._pid = os.getpid()
        self._spares = spares
        self._server_is_there = True
        self._sweep = sweep
        self._taken, self._taken_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._taken, False)
        self._waiting: set[int] = set()
        self._busy: set[int] = set()

    def serve(self) -> Intake | None:
        """Loop until there is nobody to serve and nothing to look after.

        Returns:
            None then. In a fresh supervisor's process, where it waits.
        """
        poll = select.poll()
        for descriptor in (self._lifeline, self._taken, self._wake):
            poll.register(descriptor, select.POLLIN)
        while (wanted := self._wanted()) or self._waiting or self._busy:
            while len(self._waiting) < wanted:
                pid = self._fork()
                if pid == 0:
                    return self._go_and_wait()
                if pid is None:
                    break  # no process to be had: again at the next turn
            ready = {descriptor for descriptor, _ in poll.poll(CHECK_MS)}
            self._hear_taken()
            if self._lifeline in ready:
                poll.unregister(self._lifeline)
                self._server_is_there = False
            self._look_after(woken=self._wake in ready, idle=not ready)
        return None

    def _fork(self) -> int | None:
        try:
            pid = namespaces.fork(0)
        except OSError:
            return None
        if pid:
            self._waiting.add(pid)
        return pid

    def _go_and_wait(self) -> Intake:
        """In the fresh child: drop what is the zygote's, and end with it while nobody comes."""
        privileges.die_with_parent(signal.SIGKILL)
        if os.getppid() != self._pid:
            os._exit(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (self._wake, self._taken):
            os.close(descriptor)
        return Intake(self._listener, self._lifeline, self._taken_end)

    def _hear_taken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._taken, 4096)
            for (pid,) in TAKEN.iter_unpack(data):
                if pid in self._waiting and self._server_is_there:  # else it was reaped already
                    self._waiting.discard(pid)
                    self._busy.add(pid)

    def _wanted(self) -> int:
        """Return how many shall wait; without a server only for who has connected already.

        Those that wait see for themselves that nobody will come any more.
        """
        is_needed = self._server_is_there or select.select([self._listener], [], [], 0)[0]
        return self._spares if is_needed else 0

    def _look_after(self, *, woken: bool, idle: bool) -> None:
        """Reap supervisors; end what a killed one left behind."""
        if woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        was_killed = False
        while self._waiting or self._busy:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            was_killed |= status != 0
            if pid in self._waiting and self._server_is_there:
                time.sleep(PAUSE_SECONDS)  # if they all die at once, do not fork for ever
            self._waiting.discard(pid)
            self._busy.discard(pid)
        if woken or idle:
            process_tree.end_below(os.getpid(), spare=frozenset(self._waiting | self._busy))
        if was_killed:
            self._sweep()
