"""Runs of hello-worker a second, kept up: everything durable, closed loop.

Each starter posts a run, waits for its end in the same request, and posts the
next. The first row is this machine's ceiling for workers that are Python
processes: bare `run.py`, as many at a time as a default server runs. Both take
turns of some seconds, because a machine that others use, too, has other minutes.
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

TURNS = 3
TURN_SECONDS = 3.0  # several times what the requests under way at its end take
REST_SECONDS = 1.0  # those are executed, too, and are not the next one's
CORES = len(os.sched_getaffinity(0))
SETTINGS = ((CORES, CORES), (2 * CORES, 2 * CORES), (2 * CORES, 8 * CORES), (8 * CORES, 8 * CORES))
BARE_AT_ONCE = 2 * CORES

Row = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Kept:
    """What was kept up, turn by turn.

    Attributes:
        took: Seconds of each run, by turn.
        cpu_seconds: Of the server's own process, all turns together.
    """

    took: Sequence[Sequence[float]]
    cpu_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Runs a second in a turn, the median."""
        return statistics.median(len(each) for each in self.took) / TURN_SECONDS

    @property
    def all(self) -> list[float]:
        """Seconds of each run."""
        return [seconds for each in self.took for seconds in each]

    def share_of(self, other: Kept) -> float:
        """How many times as many runs as another's in the turn before, the median."""
        pairs = zip(self.took, other.took, strict=True)
        return statistics.median(len(ours) / len(theirs) for ours, theirs in pairs)


def main() -> str:
    """Measure; return the table."""
    with hello.prepared() as folder, load.loader() as loader:
        found = [(each, *in_turns(folder, loader, *each)) for each in SETTINGS]
    bare = Kept([took for _, bare, _ in found for took in bare.took])
    rows = [row(f"bare run.py, {BARE_AT_ONCE} at a time", bare, share=1.0, own="")]
    for (at_once, starters), beside, kept in found:
        own = f"{kept.cpu_seconds / len(kept.all) * 1e3:.1f} ms"
        name = f"{at_once} at a time, {starters} starters"
        rows.append(row(name, kept, share=kept.share_of(beside), own=own))
    heads = [
        f"hello-worker on {CORES} cores",
        "runs/s",
        "of bare, median of pairs",
        "median",
        "server's own CPU a run",
    ]
    return table(heads, rows)


def in_turns(folder: Path, loader: Loader, at_once: int, starters: int) -> tuple[Kept, Kept]:
    """Keep bare `run.py` and a fresh server busy in turns; return both."""
    bare, ours = [], []
    with servers.floom(FLOOM_MAX_CONCURRENT_RUNS=str(at_once)) as server:
        assert server.process is not None
        pids = [server.process.pid]
        request = load.post(server.port, hello.RUNS, hello.BODY.encode(), prefer="wait=25")
        work = Load(server.port, (request,), starters, TURN_SECONDS, expect=b'"status":"completed"')
        loader.run(work)  # to warm up
        before = cpu_seconds(pids)
        for _ in range(TURNS):
            bare.append(spawn_bare(folder))
            ours.append(loader.run(work).seconds)
            time.sleep(REST_SECONDS)
        return Kept(bare), Kept(ours, cpu_seconds(pids) - before)


def spawn_bare(folder: Path) -> list[float]:
    """Spawn bare `run.py` as fast as it goes for a turn; return the seconds of each."""
    python = base_python()
    deadline = time.perf_counter() + TURN_SECONDS

    def spawn(_: int) -> list[float]:
        took = []
        while time.perf_counter() < deadline:
            took.append(hello.bare(python, folder))
        return took

    with ThreadPoolExecutor(BARE_AT_ONCE) as pool:
        return [seconds for each in pool.map(spawn, range(BARE_AT_ONCE)) for seconds in each]


def row(name: str, kept: Kept, *, share: float, own: str) -> Row:
    """Return a row of the table."""
    median = f"{statistics.median(kept.all) * 1e3:.0f} ms"
    return name, f"{kept.per_second:.0f}", f"{share:.2f}x", median, own


if __name__ == "__main__":
    print(main())
