"""What processes use, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from lib.sandbox.process_tree import descendants, proportional_bytes, resident_bytes

TICKS = os.sysconf("SC_CLK_TCK")
MEBIBYTE = 1024 * 1024


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *descendants(pid)]


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that these processes have used themselves; proc(5)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(pids: list[int]) -> float:
    """Return memory with shared pages counted for each process."""
    return resident_bytes(pids) / MEBIBYTE


def proportional_mib(pids: list[int]) -> float:
    """Return memory with shared pages counted in proportion (Pss)."""
    return proportional_bytes(pids) / MEBIBYTE
