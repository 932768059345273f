"""Runs of hello-worker a second, kept up: everything durable, closed loop.

Each starter posts a run, waits for its end in the same request, and posts the
next. The first row is this machine's ceiling for workers that are Python
processes: bare `run.py`, as many at a time as a default server runs.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import hello
from bench.kit import load, servers
from bench.kit.load import Load, Loader
from bench.kit.processes import cpu_seconds
from bench.kit.table import table
from lib.sandbox.runtimes import base_python

SECONDS = 6.0
WARM_UP_SECONDS = 1.0
CORES = len(os.sched_getaffinity(0))
SETTINGS = ((CORES, CORES), (2 * CORES, 2 * CORES), (2 * CORES, 8 * CORES), (8 * CORES, 8 * CORES))

Row = tuple[str, str, str, str, str]


def main() -> str:
    """Measure; return the table."""
    with hello.prepared() as folder, load.loader() as loader:
        ceiling, first = bare(folder)
        rows = [first, *(row for each in SETTINGS for row in sustained(loader, *each, ceiling))]
    heads = [
        f"hello-worker on {CORES} cores",
        "runs/s",
        "of it",
        "median",
        "server's own CPU a run",
    ]
    return table(heads, rows)


def bare(folder: Path) -> tuple[float, Row]:
    """Spawn bare `run.py` as fast as it goes; return how many a second, and the row."""
    python, at_once = base_python(), 2 * CORES
    deadline = time.perf_counter() + SECONDS

    def spawn(_: int) -> list[float]:
        took = []
        while time.perf_counter() < deadline:
            took.append(hello.bare(python, folder))
        return took

    with ThreadPoolExecutor(at_once) as pool:
        took = [seconds for each in pool.map(spawn, range(at_once)) for seconds in each]
    rate = len(took) / SECONDS
    return rate, row(f"bare run.py, {at_once} at a time", rate, rate, took, "")


def sustained(loader: Loader, at_once: int, starters: int, ceiling: float) -> Iterator[Row]:
    """Keep a fresh server busy."""
    with servers.floom(FLOOM_MAX_CONCURRENT_RUNS=str(at_once)) as server:
        assert server.process is not None
        request = load.post(server.port, hello.RUNS, hello.BODY.encode(), prefer="wait=25")
        loader.run(Load(server.port, (request,), starters, WARM_UP_SECONDS))
        before = cpu_seconds([server.process.pid])
        found = loader.run(
            Load(server.port, (request,), starters, SECONDS, expect=b'"status":"completed"')
        )
        spent = cpu_seconds([server.process.pid]) - before
    own = f"{spent / len(found.seconds) * 1e3:.1f} ms"
    name = f"{at_once} at a time, {starters} starters"
    yield row(name, found.per_second, ceiling, found.seconds, own)


def row(name: str, rate: float, ceiling: float, seconds: list[float], own: str) -> Row:
    """Return a row of the table."""
    median = f"{statistics.median(seconds) * 1e3:.0f} ms"
    return name, f"{rate:.0f}", f"{rate / ceiling:.2f}x", median, own


if __name__ == "__main__":
    print(main())
