"""The first process of a pid namespace: parent of all orphans in it.

The worker is not pid 1 itself: pid 1 must reap, and the kernel spares it the
signals that it has no handler for, so a worker would not die of its own bugs.
When this process ends, the kernel kills all that is left in the namespace.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from dataclasses import dataclass
from typing import Final, NoReturn

from lib.sandbox import descriptors, process_tree

SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM})
_REPORT: Final = struct.Struct("=iQ")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run's processes ended, as their first process saw it.

    Attributes:
        exit_code: The worker's, as a shell reports it: 128 + signal number for a signal.
        cpu_ms: Of all of them.
    """

    exit_code: int
    cpu_ms: int


def serve(worker: int, report: int | None) -> NoReturn:
    """Reap until the worker ends, end all others, tell, and end with the worker's code.

    It tells before it ends, because the end of a namespace takes milliseconds.
    SIGTERM is passed on to every process of the namespace. `SIGNALS` must have
    been blocked before the worker was forked: a blocked signal waits, also for
    pid 1, which otherwise is not sent what it would not handle.

    Args:
        worker: Its pid.
        report: Descriptor that an `Ended` is written to; None: nobody reads one.
    """
    code = 1
    try:
        keep = () if report is None else (report,)
        descriptors.close_all_but(keep, first=0)  # else nobody sees the worker's streams end
        _cpu_ms()  # for the pages that it writes to, which are this process's own then
        code = _wait_for(worker)
        _end_others()
        if report is not None:
            os.write(report, _REPORT.pack(code, _cpu_ms()))
    finally:
        os._exit(code)


def read_report(report: int) -> Ended | None:
    """Return what `serve` told; None if it was killed before it could."""
    data = os.read(report, _REPORT.size)
    return Ended(*_REPORT.unpack(data)) if len(data) == _REPORT.size else None


def _cpu_ms() -> int:
    return round(process_tree.reaped_cpu_seconds() * 1000)


def _wait_for(worker: int) -> int:
    while True:
        while (ended := _reap_one()) is not None:  # it may have ended before we came here
            pid, code = ended
            if pid == worker:
                return code
        if signal.sigwait(SIGNALS) == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGTERM)


def _reap_one() -> tuple[int, int] | None:
    with contextlib.suppress(ChildProcessError):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return pid, 128 - code if code < 0 else code
    return None


def _end_others() -> None:
    """Kill and reap what the worker left; a process that forks meanwhile is killed next."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while True:
            os.kill(-1, signal.SIGKILL)
            os.waitpid(-1, 0)
