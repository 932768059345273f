"""What a run costs: hello-worker from POST to completed against bare Python.

All are measured in turns. Bare means the same `run.py`, spawned in a prepared
folder: once with the base interpreter that runs also use, once with one whose
`site-packages` is empty, because a `.pth` file there can cost more than all
the rest. Ratios are to the first.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.kit import servers
from bench.kit.figures import ms, paired, ratio
from bench.kit.table import table
from lib.sandbox.runtimes import base_python
from tests.e2e.server import ROOT

ROUNDS = 60
WARM_UP = 5
REST_SECONDS = 0.05
WORKER = ROOT / "workers/hello-worker/run.py"
INPUTS = {"who": "Ada"}
BODY = json.dumps({"inputs": INPUTS})
JSON = {"content-type": "application/json"}
RUNS = "/workers/hello-worker/runs"


def main() -> str:
    """Measure; return both tables."""
    with servers.floom() as server, prepared() as folder, servers.connected(server.port) as http:
        clean = clean_python(folder)
        steps = Steps()
        took = in_turns(
            {
                "bare run.py, base interpreter": lambda: bare(base_python(), folder),
                "bare run.py, nothing in site-packages": lambda: bare(clean, folder),
                "POST with Prefer: wait=25": lambda: steps.add(post_and_wait(http), http),
                "POST, then its event stream": lambda: post_and_follow(http),
            }
        )
    base = next(iter(took.values()))
    rows = [(name, ms(each), ratio(each, base)) for name, each in took.items()]
    results = table(["hello-worker", "median", paired("bare")], rows)
    return f"{results}\n\n{steps.table()}\n\nHeld by the sandbox: {steps.sandbox}."


def in_turns(
    calls: dict[str, Callable[[], float]], *, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Return the seconds that each call says it took, a round after the other.

    Each in an order of its own: what comes after a large process finds cold caches.
    And each at rest: none pays for what the one before has left to be done.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    names, order = list(calls), random.Random(0)
    for number in range(WARM_UP + rounds):
        order.shuffle(names)
        for name in names:
            time.sleep(REST_SECONDS)
            seconds = calls[name]()
            if number >= WARM_UP:
                took[name].append(seconds)
    return took


@contextmanager
def prepared() -> Iterator[Path]:
    """Make a folder as a run's is: the worker's file and its inputs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.py").write_bytes(WORKER.read_bytes())
        (folder / "inputs.json").write_text(json.dumps(INPUTS))
        yield folder


def clean_python(folder: Path) -> Path:
    """Make an interpreter that finds nothing in its `site-packages`."""
    venv.create(folder / "clean", with_pip=False)
    return folder / "clean/bin/python"


def bare(python: Path, folder: Path) -> float:
    """Spawn `run.py` as anybody would and take its output."""
    begun = time.perf_counter()
    subprocess.run(
        [str(python), "run.py"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Finished:
    """One run, and when its caller knew of what; seconds since the epoch."""

    run: dict[str, Any]
    asked_at: float
    answered_at: float


def post_and_wait(http: HTTPConnection) -> Finished:
    """Start a run and wait for it within the same request."""
    asked_at = time.time()
    http.request("POST", RUNS, BODY, {**JSON, "prefer": "wait=25"})
    answer = http.getresponse()
    run = json.loads(answer.read())
    answered_at = time.time()
    assert answer.status == 200, run
    assert run["status"] == "completed", run
    return Finished(run, asked_at, answered_at)


def post_and_follow(http: HTTPConnection) -> float:
    """Start a run and read its events until the end."""
    begun = time.perf_counter()
    http.request("POST", RUNS, BODY, JSON)
    answer = http.getresponse()
    run = json.loads(answer.read())
    assert answer.status == 202, run
    http.request("GET", f"/runs/{run['id']}/events")
    events = http.getresponse().read()
    assert b'"completed"' in events, events
    return time.perf_counter() - begun


@dataclass
class Steps:
    """Where the time of runs went, by the times that the API shows.

    Those are whole milliseconds, cut off; means of many runs even that out.
    """

    taken: dict[str, list[float]] = field(default_factory=dict)
    sandbox: str = ""

    def add(self, finished: Finished, http: HTTPConnection) -> float:
        """Take the steps of one run; return its seconds in all."""
        http.request("GET", f"/runs/{finished.run['id']}/logs")
        lines = json.loads(http.getresponse().read())
        run = finished.run
        times = (
            ("request, checks", finished.asked_at),
            ("create committed, claimed", _seconds(run["created_at"])),
            ("claim committed, folder, process, Python, first line", _seconds(run["started_at"])),
            ("rest of run.py, up to its last line", _seconds(lines[0]["at"])),
            ("end of the process, exit record, collect", _seconds(lines[-1]["at"])),
            ("end committed, answer", _seconds(run["finished_at"])),
        )
        self.sandbox = ", ".join(f"{name}: {by}" for name, by in run["sandbox"].items())
        ends = [*(at for _, at in times[1:]), finished.answered_at]
        for (name, begun), ended in zip(times, ends, strict=True):
            self.taken.setdefault(name, []).append(ended - begun)
        return finished.answered_at - finished.asked_at

    def table(self) -> str:
        """Return the means."""
        means = {name: statistics.fmean(each) for name, each in self.taken.items()}
        whole = sum(means.values())
        rows = [(name, f"{s * 1e3:.1f} ms", f"{s / whole:.0%}") for name, s in means.items()]
        return table(["of which", "mean", "share"], rows)


def _seconds(text: str) -> float:
    """Return an API time as seconds since the epoch, in the middle of its millisecond."""
    return datetime.fromisoformat(text).timestamp() + 0.0005


if __name__ == "__main__":
    print(main())
