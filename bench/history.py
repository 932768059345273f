"""Versions of a worker after many commits, beside `git log` on the same repository.

Run with `python -m bench history`. The repository has 500 workers and 10,000
commits, each of which changed one of them.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.kit.table import table
from lib.clock import SystemClock
from lib.workspace.history import History
from lib.workspace.object_store import ObjectStore
from lib.workspace.workspace import Author, Put, Workspace

COMMITS: Final = 10_000
WORKERS: Final = 500
PAGE: Final = 50
ROUNDS: Final = 9
AUTHOR: Final = Author("Bench", "bench@floom.local")
WORKER: Final = "worker-007"


def main() -> str:
    """Return a table of the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = _filled(folder)
        root = folder / "ws"
        log = ["git", "-C", str(root), "log", f"-{PAGE}", "--format=%H", "main", "--"]
        by_git = _median(lambda: _run([*log, f"workers/{WORKER}"]))
        index = root / ".git/floom/history"
        size = index.stat().st_size
        warm = _median(lambda: workspace.versions(WORKER, limit=PAGE))
        tip = workspace.tip()
        workspace.close()
        cold = _median(lambda: _page(root, tip))
        rebuilt = _median(lambda: _page(root, tip, without=index), rounds=3)
    rows = [
        ["git log of one worker", f"{by_git * 1000:,.1f} ms", "1.000x"],
        ["a page of versions, warm", *_beside(warm, by_git)],
        ["the first page of a process", *_beside(cold, by_git)],
        ["the same, the index to be made from git", *_beside(rebuilt, by_git)],
    ]
    head = [f"{COMMITS:,} commits, {WORKERS} workers, {size / 2**20:.1f} MiB of index", "median"]
    return table([*head, "of it"], rows)


def _filled(folder: Path) -> Workspace:
    workspace = Workspace.open(
        folder / "ws",
        state_dir=folder / "data",
        engine_root=Path(__file__).resolve().parents[1],
        seed=None,
        clock=SystemClock(),
    )
    first = [_file(number, 0) for number in range(WORKERS)]
    workspace.commit(lambda _: first, "workspace: import", AUTHOR)
    for number in range(1, COMMITS):
        _commit(workspace, _file(number % WORKERS, number))
    workspace.versions(WORKER, limit=1)
    return workspace


def _commit(workspace: Workspace, edit: Put) -> None:
    workspace.commit(lambda _: [edit], "worker: update one", AUTHOR)


def _file(worker: int, number: int) -> Put:
    return Put(f"workers/worker-{worker:03}/run.py", f"print({number})\n".encode())


def _page(root: Path, tip: str | None, *, without: Path | None = None) -> None:
    if without is not None:
        without.unlink()
    store = ObjectStore(root / ".git/objects")
    history = History(store, root / ".git/floom")
    for commit in history.page(WORKER, tip, below=None, limit=PAGE).commits:
        store.commit(commit)
    store.close()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _median(call: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return seconds of a call, the median of some."""
    return statistics.median(_timed(call) for _ in range(rounds))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _beside(seconds: float, by_git: float) -> tuple[str, str]:
    return f"{seconds * 1000:,.1f} ms", f"{seconds / by_git:.3f}x"


if __name__ == "__main__":
    print(main())
