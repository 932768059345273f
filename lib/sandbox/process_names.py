"""Names of processes that stay true when pids are reused, and across reboots."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from lib.sandbox import kernel_files


@functools.cache
def boot_id() -> str:
    """Return the id that the kernel made at boot, the same for all processes."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone.

    With the boot id and the pid it names a process for good: pids are reused.
    A zombie counts as gone.
    """
    try:
        stat = kernel_files.read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields after the command, which may hold blanks and parentheses; proc(5).
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def own_name() -> dict[str, Any]:
    """Return this process's pid, start time and boot id, which name it for good."""
    return _name_of(os.getpid())


@functools.cache
def _name_of(pid: int) -> dict[str, Any]:
    return {"pid": pid, "start_time": start_time(pid), "boot_id": boot_id()}
