"""The first process of a pid namespace: parent of all orphans in it.

The worker is not pid 1 itself: pid 1 must reap, and the kernel spares it the
signals that it has no handler for, so a worker would not die of its own bugs.
When this process ends, the kernel kills all that is left in the namespace.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final, NoReturn

from lib.sandbox import privileges

SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM})
_ALL_DESCRIPTORS: Final = 1 << 20  # more than any limit in use


def serve(worker: int) -> NoReturn:
    """Reap until the worker ends, then end with its exit code, as a shell reports it.

    SIGTERM is passed on to every process of the namespace. `SIGNALS` must have
    been blocked before the worker was forked: a blocked signal waits, also for
    pid 1, which otherwise is not sent what it would not handle.
    """
    code = 1
    try:
        os.closerange(0, _ALL_DESCRIPTORS)  # else nobody sees the worker's streams end
        privileges.set_dumpable(dumpable=False)  # the worker has no business in this memory
        code = _wait_for(worker)
    finally:
        os._exit(code)


def _wait_for(worker: int) -> int:
    while True:
        if signal.sigwait(SIGNALS) == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGTERM)
        while (ended := _reap_one()) is not None:
            pid, code = ended
            if pid == worker:
                return code


def _reap_one() -> tuple[int, int] | None:
    with contextlib.suppress(ChildProcessError):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return pid, 128 - code if code < 0 else code
    return None
