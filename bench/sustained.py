"""Runs of hello-worker a second, kept up: everything durable, closed loop.

Each starter posts a run, waits for its end in the same request, and posts the
next. The first row is this machine's ceiling for workers that are Python
processes: bare `run.py`, as many at a time as a default server runs. It is measured
before each setting, and each is held against its own.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import hello
from bench.kit import load, servers
from bench.kit.load import Load, Loader
from bench.kit.processes import cpu_seconds
from bench.kit.table import table
from lib.sandbox.runtimes import base_python

SECONDS = 6.0
BARE_SECONDS = 3.0
WARM_UP_SECONDS = 1.0
CORES = len(os.sched_getaffinity(0))
SETTINGS = ((CORES, CORES), (2 * CORES, 2 * CORES), (2 * CORES, 8 * CORES), (8 * CORES, 8 * CORES))
BARE_AT_ONCE = 2 * CORES

Row = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Kept:
    """What was kept up.

    Attributes:
        took: Seconds of each run.
        cpu_seconds: Of the server's own process, all runs together.
    """

    per_second: float
    took: Sequence[float]
    cpu_seconds: float = 0.0


def main() -> str:
    """Measure; return the table."""
    with hello.prepared() as folder, load.loader() as loader:
        # In turns: a machine that others use, too, has other minutes.
        found = [(bare(folder), sustained(loader, *each)) for each in SETTINGS]
    ceilings = [ceiling for ceiling, _ in found]
    middle = Kept(
        statistics.median(each.per_second for each in ceilings),
        [seconds for each in ceilings for seconds in each.took],
    )
    rows = [row(f"bare run.py, {BARE_AT_ONCE} at a time", middle, middle, own="")]
    for (at_once, starters), (ceiling, kept) in zip(SETTINGS, found, strict=True):
        own = f"{kept.cpu_seconds / len(kept.took) * 1e3:.1f} ms"
        rows.append(row(f"{at_once} at a time, {starters} starters", kept, ceiling, own))
    heads = [
        f"hello-worker on {CORES} cores",
        "runs/s",
        "of bare beside it",
        "median",
        "server's own CPU a run",
    ]
    return table(heads, rows)


def bare(folder: Path) -> Kept:
    """Spawn bare `run.py` as fast as it goes."""
    python = base_python()
    deadline = time.perf_counter() + BARE_SECONDS

    def spawn(_: int) -> list[float]:
        took = []
        while time.perf_counter() < deadline:
            took.append(hello.bare(python, folder))
        return took

    with ThreadPoolExecutor(BARE_AT_ONCE) as pool:
        took = [seconds for each in pool.map(spawn, range(BARE_AT_ONCE)) for seconds in each]
    return Kept(len(took) / BARE_SECONDS, took)


def sustained(loader: Loader, at_once: int, starters: int) -> Kept:
    """Keep a fresh server busy."""
    with servers.floom(FLOOM_MAX_CONCURRENT_RUNS=str(at_once)) as server:
        assert server.process is not None
        request = load.post(server.port, hello.RUNS, hello.BODY.encode(), prefer="wait=25")
        loader.run(Load(server.port, (request,), starters, WARM_UP_SECONDS))
        before = cpu_seconds([server.process.pid])
        found = loader.run(
            Load(server.port, (request,), starters, SECONDS, expect=b'"status":"completed"')
        )
        return Kept(found.per_second, found.seconds, cpu_seconds([server.process.pid]) - before)


def row(name: str, kept: Kept, ceiling: Kept, own: str) -> Row:
    """Return a row of the table."""
    median = f"{statistics.median(kept.took) * 1e3:.0f} ms"
    share = f"{kept.per_second / ceiling.per_second:.2f}x"
    return name, f"{kept.per_second:.0f}", share, median, own


if __name__ == "__main__":
    print(main())
