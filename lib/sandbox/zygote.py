"""The zygote: a small, isolated interpreter that keeps supervisors waiting for runs.

Forking from here takes half a millisecond; starting Python takes thirty, and
the server, with its threads and its memory, must not fork at all.

It is started with an empty environment and a listening Unix socket in a private
folder, and ends when the server that started it is gone and nothing runs any
more. What waits has a worker forked and enclosed already: only what depends on the
run is left to do when it comes. It is a subreaper: what a killed supervisor leaves
behind becomes its child, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from lib.sandbox import descriptors, namespaces, privileges, process_tree, rlimits
from lib.sandbox.intake import Intake
from lib.sandbox.premises import Premises
from lib.sandbox.probe import Probe
from lib.sandbox.process_names import boot_id
from lib.sandbox.supervisor_process import supervise
from lib.sandbox.supervisors import Supervisors
from lib.sandbox.warm import WarmStart, hide_our_modules, preimport
from lib.sandbox.wire import ZygoteSettings

CHECK_MS: Final = 1_000
PAUSE_SECONDS: Final = 0.05
IDLE_SECONDS: Final = 1.0  # without a run; then supervisors go that are too many

# What a worker need not take apart on its way to its program, copying the pages that it is on.
_KEPT: Final[list[object]] = []


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
    rlimits.raise_own()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _ignore_no_more_than(signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)  # as Python does
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
    _KEPT.extend([premises, found, zygote])
    intake = zygote.serve()
    return None if intake is None else _supervise(premises, intake)


def _ignore_no_more_than(*numbers: signal.Signals) -> None:
    """Ignore these signals, and none because the server was started so, as by nohup."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _report(descriptor: int, found: Probe | None) -> None:
    """Say what the probe found: one JSON object, `null` when nothing is confined."""
    # A server that was killed while it started does not read it any more.
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w") as file:
        json.dump(None if found is None else found.summary(), file)


def _supervise(premises: Premises, intake: Intake) -> WarmStart:
    """Supervise runs and end; only a worker's process returns."""
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
    """Keeps supervisors, hands connections to those that are ready, and reaps all.

    It does not read what comes by a connection. A busy supervisor that held the
    listening socket itself would keep a server waiting which connects while no other
    is there, and whose zygote has been killed.

    Args:
        listener: Unix socket that the server connects to; does not block.
        lifeline: At end of file the server is gone.
        wake: Readable after SIGCHLD.
        spares: How many supervisors there are at least.
        sweep: Called when a supervisor was killed and nothing of its run is left.
    """

    def __init__(
        self, listener: int, lifeline: int, wake: int, *, spares: int, sweep: Callable[[], None]
    ) -> None:
        self._listener = socket.socket(fileno=listener)
        self._lifeline = lifeline
        self._wake = wake
        self._pid = os.getpid()
        self._server_is_there = True
        self._sweep = sweep
        self._poll = select.poll()
        self._supervisors = Supervisors(self._poll, at_least=spares)
        self._caller: socket.socket | None = None  # whom nobody could be given to yet
        self._last_run = time.monotonic()

    def serve(self) -> Intake | None:
        """Loop until there is nobody to serve and nothing to look after.

        Returns:
            None then. In a fresh supervisor's process, where its runs come from.
        """
        for descriptor in (self._lifeline, self._wake):
            self._poll.register(descriptor, select.POLLIN)
        while self._is_needed() or self._supervisors:
            intake = self._fork_who_is_lacking()
            if intake is not None:
                return intake
            ready = self._wait()
            self._supervisors.hear(ready)
            if self._lifeline in ready:
                self._poll.unregister(self._lifeline)
                self._server_is_there = False
            self._hand_out()
            self._dismiss()
            self._look_after(woken=self._wake in ready, idle=not ready)
        return None

    def _is_needed(self) -> bool:
        """Whether runs may come; without a server only of who has connected already."""
        return self._server_is_there or self._has_callers()

    def _has_callers(self) -> bool:
        return self._caller is not None or bool(select.select([self._listener], [], [], 0)[0])

    def _fork_who_is_lacking(self) -> Intake | None:
        """Fork until there are supervisors enough; only in one of them something is returned."""
        while self._is_needed() and self._supervisors.are_too_few(self._has_callers):
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            except OSError:
                return None  # no descriptor to be had: again at the next turn
            try:
                pid = namespaces.fork(0)
            except OSError:  # nor a process
                ours.close()
                theirs.close()
                return None
            if pid == 0:
                ours.detach()
                return self._leave(theirs)
            theirs.close()
            self._supervisors.take_on(pid, ours)
        return None

    def _leave(self, line: socket.socket) -> Intake:
        """In the fresh child: drop what is the zygote's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._supervisors.forget_lines()
        for each in (self._listener, self._caller):
            if each is not None:
                each.detach()  # or the number would be closed when the object goes
        descriptors.close_all_but([line.fileno()])
        return Intake(line, self._pid)

    def _wait(self) -> set[int]:
        """Wait until something happens, CHECK_MS at most; callers only matter to who is ready."""
        may_serve = self._supervisors.has_ready
        if may_serve:
            self._poll.register(self._listener, select.POLLIN)
        pause = CHECK_MS if self._caller is None else PAUSE_SECONDS * 1000
        ready = {descriptor for descriptor, _ in self._poll.poll(pause)}
        if may_serve:
            self._poll.unregister(self._listener)
        return ready

    def _hand_out(self) -> None:
        """Give connections that wait to those that are ready.

        The kernel may refuse to accept or to pass on, for want of memory or descriptors,
        or because the user has too many on their way. The caller waits then.
        """
        while self._supervisors.has_ready:
            try:
                if self._caller is None:
                    self._caller, _ = self._listener.accept()
                    self._last_run = time.monotonic()
                if self._supervisors.give(self._caller):
                    self._caller.close()
                    self._caller = None
            except BlockingIOError:  # there is none
                return
            except OSError:
                time.sleep(PAUSE_SECONDS)  # whoever waits to be accepted wakes us at once
                return

    def _dismiss(self) -> None:
        """Let those go that are too many: once it is quiet, or once no run will come."""
        if not self._is_needed():
            self._supervisors.dismiss_all()
        elif time.monotonic() - self._last_run >= IDLE_SECONDS:
            self._supervisors.dismiss_surplus()

    def _look_after(self, *, woken: bool, idle: bool) -> None:
        """Reap supervisors; end what a killed one left behind."""
        if woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        was_killed = False
        while self._supervisors:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            was_killed |= status != 0
            if self._supervisors.remove(pid) and self._server_is_there:
                time.sleep(PAUSE_SECONDS)  # if they all die at once, do not fork for ever
        if woken or idle:
            process_tree.end_below(os.getpid(), spare=self._supervisors.pids)
        if was_killed:
            self._sweep()
