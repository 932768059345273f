"""A process and all it started, also what it tried to hide.

Zygote, supervisor and init are subreapers (prctl(2)), or init the first process of a
pid namespace: an orphan becomes the child of the next of them above, so the tree is
whole whatever a worker forks, daemonises or moves to a session of its own. `killpg`
would miss those.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from typing import Final

from lib.sandbox import syscalls

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_KILL_PAUSE_SECONDS: Final = 0.002


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, prctl(2)."""
    syscalls.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int) -> list[int]:
    """Return the child processes of all threads of `pid`; none when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - hot path
    except OSError:
        return found
    for thread in threads:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/task/{thread}/children", "rb") as file,  # noqa: PTH123 - hot path
        ):
            found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return every process below `pid`, parents first."""
    found = children(pid)
    for each in found:  # grows while it is walked: breadth first
        found += children(each)
    return found


def folder(pid: int) -> str:
    """Return the folder of /proc that shows what a process has in memory and open.

    It is that of a thread which lives: where the first one has ended, and others go
    on, the process's own shows nothing.
    """
    own = f"/proc/{pid}"
    with contextlib.suppress(OSError):
        if _pages(own) != (0, 0):
            return own
        for thread in os.listdir(f"{own}/task"):  # noqa: PTH208 - hot path
            if thread != str(pid):
                return f"{own}/task/{thread}"
    return own


def _pages(path: str) -> tuple[int, int]:
    """Return how many pages there are, and how many of them in memory."""
    with open(f"{path}/statm", "rb") as file:  # noqa: PTH123 - hot path
        size, resident, *_ = file.read().split()
    return int(size), int(resident)


def resident_bytes(pids: list[int]) -> int:
    """Return the memory that these processes hold, shared pages counted for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _pages(folder(pid))[1]
    return total * PAGE_BYTES


def proportional_bytes(pids: list[int]) -> int:
    """Return the memory that these processes hold, shared pages counted once in all.

    It costs the kernel a walk over every page (`Pss` of smaps_rollup, proc(5)).
    """
    total = 0
    for pid in pids:
        with (
            contextlib.suppress(OSError),
            open(f"{folder(pid)}/smaps_rollup", "rb") as file,  # noqa: PTH123
        ):
            total += sum(int(line.split()[1]) for line in file if line.startswith(b"Pss:"))
    return total * 1024


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time of these processes and of what they have reaped, proc(5)."""
    ticks = 0
    for pid in pids:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/stat", "rb") as file,  # noqa: PTH123
        ):
            fields = file.read().rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / TICKS_A_SECOND


def reaped_cpu_seconds() -> float:
    """Return the CPU time of all that this process has reaped, and what those had."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap_orphans(spared_pid: int) -> None:
    """Reap ended children of this process until none is left, or `spared_pid` is next."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == spared_pid:
                return
            os.waitpid(ended.si_pid, 0)


def end_below(pid: int, spare: frozenset[int] = frozenset()) -> None:
    """Kill and reap everything below `pid` (this process), `spare` and theirs excepted.

    Stops each process before killing it, so that a tree which forks faster than
    it is killed runs dry. Returns when nothing is left.
    """
    while spare or not _is_alone():  # which it mostly is, and needs no look at /proc
        targets = [child for child in children(pid) if child not in spare]
        if not targets:
            return
        doomed = targets + [below for target in targets for below in descendants(target)]
        signal_all(doomed, signal.SIGSTOP)
        signal_all(doomed, signal.SIGKILL)
        if not _reap(targets):
            time.sleep(_KILL_PAUSE_SECONDS)


def _is_alone() -> bool:
    """Reap what has ended already; whether this process has no child any more."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    return True


def _reap(pids: list[int]) -> bool:
    reaped = False
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            reaped |= os.waitpid(pid, os.WNOHANG)[0] != 0
    return reaped
