"""Names of processes that stay true when pids are reused, and across reboots."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final

STAT_BYTES: Final = 4096  # many times what it ever is


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
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            stat = os.read(file, STAT_BYTES)
        finally:
            os.close(file)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields after the command, which may hold blanks and parentheses; proc(5).
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
