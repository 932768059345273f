"""Limits that the kernel holds for each process, or for all of a user's."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

MAX_OPEN_FILES: Final = 1024  # and at most half of what our own processes may have
MAX_LOCKED_BYTES: Final = 64 * 1024
MAX_PENDING_SIGNALS: Final = 1024
CPU_GRACE_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What one run may use.

    Attributes:
        memory_bytes: Private writable memory of each process.
        file_bytes: Size of any one file.
        tasks: Processes and threads of the whole run; None: not limited here,
            because other processes of the same user would count too.
        cpu_seconds: Of each process.
    """

    memory_bytes: int
    file_bytes: int
    tasks: int | None = None
    cpu_seconds: int | None = None


def raise_own() -> None:
    """Let this process and those forked from it open as many files as they ever may.

    Descriptors on their way through a Unix socket are counted by user: a process that
    passes one on is refused while its user has more under way than it may have open.
    Without root that is the worker's user, too, which must reach its own limit first.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def apply(ceilings: Ceilings) -> None:
    """Limit this process and all it starts; hard limits, for good."""
    # Not 0: a core pattern that begins with "|" ignores it and hands the
    # memory, secrets and all, to a program of the host. 1 is what stops that
    # (core(5)), and no file is made for it either.
    _set(resource.RLIMIT_CORE, 1)
    _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _set(resource.RLIMIT_NOFILE, min(MAX_OPEN_FILES, open_files // 2))
    _set(resource.RLIMIT_FSIZE, ceilings.file_bytes)
    # Not RLIMIT_AS: Node reserves gigabytes of address space that it never touches.
    _set(resource.RLIMIT_DATA, ceilings.memory_bytes)
    _set(resource.RLIMIT_MEMLOCK, MAX_LOCKED_BYTES)
    _set(resource.RLIMIT_MSGQUEUE, 0)
    _set(resource.RLIMIT_SIGPENDING, MAX_PENDING_SIGNALS)
    if ceilings.tasks is not None:
        _set(resource.RLIMIT_NPROC, ceilings.tasks)
    if ceilings.cpu_seconds is not None:
        # The hard limit kills a worker that catches SIGXCPU.
        limits = (ceilings.cpu_seconds, ceilings.cpu_seconds + CPU_GRACE_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, limits)


def _set(which: int, value: int) -> None:
    """Set soft and hard limit, never above the hard limit that is inherited."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
