"""Durable commits a second, and what a reload costs.

Run with `python -m bench.commits`. The tree holds 10,000 files laid out like
issues; every commit adds one and is on disk when the call returns.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lib.clock import SystemClock
from lib.workspace.workspace import Author, Edit, Put, Workspace

ISSUES: Final = 10_000
WORKERS: Final = 500
SECONDS: Final = 4.0
TARGETS: Final = {1: 300, 8: 800, 32: 1_300}
AUTHOR: Final = Author("Bench", "bench@floom.local")


def main() -> str:
    """Return a table of the figures, with their targets."""
    rows = ["| what | measured | target |", "|---|---|---|"]
    with tempfile.TemporaryDirectory(dir=_disk()) as folder:
        rows += _commit_rows(Path(folder))
        rows += _reload_rows(Path(folder))
    return "\n".join(rows)


def _commit_rows(folder: Path) -> list[str]:
    workspace = _open(folder / "issues")
    workspace.commit(lambda _: [_issue(n) for n in range(ISSUES)], "issues: import", AUTHOR)
    rows = [f"| fsync of 3 KiB | {_fsync_ms(folder):.2f} ms | |"]
    for callers, target in TARGETS.items():
        rate = _rate(workspace, callers)
        rows.append(f"| commits a second, {callers} callers | {rate:,.0f} | {target:,} |")
    workspace.close()
    return rows


def _rate(workspace: Workspace, callers: int) -> float:
    numbers = iter(range(ISSUES * callers, 10_000_000))
    until = time.perf_counter() + SECONDS
    done: list[int] = []

    def call() -> None:
        while time.perf_counter() < until:
            _create(workspace, next(numbers))
            done.append(1)

    started = time.perf_counter()
    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.perf_counter() - started)


def _create(workspace: Workspace, number: int) -> None:
    edit = _issue(number)
    workspace.commit(lambda _: [edit], f"issues: create ISSUE-{number:04}", AUTHOR)


def _reload_rows(folder: Path) -> list[str]:
    workspace = _open(folder / "workers")
    workspace.commit(lambda _: _workers(), "workspace: import", AUTHOR)
    root = folder / "workers/ws"
    for path in root.glob("workers/*/*"):
        os.utime(path, (1, 1))
    time.sleep(2.1)  # the stat cache distrusts what is younger than 2 s
    cold = _timed(lambda: workspace.reload(AUTHOR))
    (root / "workers/worker-250/run.py").write_text("print('changed')\n")
    changed = _timed(lambda: workspace.reload(AUTHOR))
    unchanged = _timed(lambda: workspace.reload(AUTHOR))
    workspace.close()
    return [
        f"| reload, {WORKERS} workers, first | {cold * 1000:.0f} ms | |",
        f"| reload, {WORKERS} workers, 1 changed | {changed * 1000:.0f} ms | |",
        f"| reload, {WORKERS} workers, none changed | {unchanged * 1000:.0f} ms | |",
    ]


def _issue(number: int) -> Put:
    folder = f"{number // 100}/" if number >= 100 else ""
    body = f"---\nid: ISSUE-{number:04}\nstatus: open\ntitle: Number {number}\n---\n\nBody.\n"
    return Put(f".floom/issues/{folder}ISSUE-{number:04}.md", body.encode())


def _workers() -> list[Edit]:
    return [
        Put(f"workers/worker-{number:03}/{name}", f"{name} {number}\n".encode() * 20)
        for number in range(WORKERS)
        for name in ("worker.yml", "run.py", "README.md", "requirements.txt")
    ]


def _open(folder: Path) -> Workspace:
    return Workspace.open(
        folder / "ws",
        state_dir=folder / "data",
        engine_root=Path(__file__).resolve().parents[1],
        seed=None,
        clock=SystemClock(),
    )


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _fsync_ms(folder: Path) -> float:
    with (folder / "probe").open("wb") as file:
        started = time.perf_counter()
        for _ in range(100):
            file.write(bytes(3_072))
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - started) * 10


def _disk() -> Path:
    """Return a folder on the real disk: `/tmp` may be memory."""
    folder = Path(__file__).resolve().parents[1] / "var"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    print(main())
