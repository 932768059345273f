"""A workspace in a bundle store: bytes and time of a commit, and of a restore.

Run with `python -m bench bundles`. The store is a folder; where it says so, each
request to it takes 20 ms more, as one in a region's S3 does. Beside it: what
`git bundle create` of everything costs, which is how a repository is kept in a
store without increments.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.kit.table import table
from lib.clock import SystemClock
from lib.ids import Ids
from lib.storage.files import FileBlobStore
from lib.workspace.bundle_sync import Bundles
from lib.workspace.issues import Issues, NewIssue
from lib.workspace.issues.document import Document, encode
from lib.workspace.issues.names import COUNTER, document_path, issue_id
from lib.workspace.repository import Repository
from lib.workspace.workspace import Author, Edit, Put, Workspace

SIZES: Final = (10, 1_000, 10_000)
ROUNDS: Final = 40
LONG_RUN: Final = max(SIZES)
LAST: Final = 100
SECONDS: Final = 5.0
CALLERS: Final = (1, 8, 32)
PROCESSES: Final = 4
LATENCY_SECONDS: Final = 0.02
AUTHOR: Final = Author("Bench", "bench@floom.local")
BODY: Final = "Totals are off by one cent where an invoice has more than one tax rate.\n" * 4


class Distant:
    """A store each of whose requests takes a while longer."""

    def __init__(self, store: FileBlobStore, seconds: float) -> None:
        self._store = store
        self.seconds = seconds
        self.put_bytes: list[int] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*args: Any, **options: Any) -> Any:
            if self.seconds:
                time.sleep(self.seconds)
            if name == "put":
                self.put_bytes.append(len(args[1]))
            return method(*args, **options)

        return call


def main() -> str:
    """Return tables of the figures."""
    with tempfile.TemporaryDirectory(dir=_disk()) as name:
        folder = Path(name)
        return "\n\n".join(
            (_by_size(folder), _in_the_long_run(folder / "long"), _throughput(folder))
        )


def _by_size(folder: Path) -> str:
    rows: list[list[str]] = []
    for size in SIZES:
        base = folder / str(size)
        base.mkdir()
        with _opened(base, "one", issues=size) as (workspace, store):
            commit = _commits(workspace, store)
            rows += [[what, f"{size:,}", figure] for what, figure in commit]
        rows += [[what, f"{size:,}", figure] for what, figure in _beside(base)]
    rows.sort(key=lambda row: row[0])
    return table(["what", "issues", "median"], rows)


def _commits(workspace: Workspace, store: Distant) -> list[tuple[str, str]]:
    clock = SystemClock()
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    new = NewIssue(title="Totals are off", body=BODY, labels=("billing",))
    store.put_bytes.clear()
    took = _median(lambda: issues.create(new, author=AUTHOR, by="bench"))
    pairs = [*zip(store.put_bytes[::2], store.put_bytes[1::2], strict=False)]
    bundle, pointer = (statistics.median(sizes) for sizes in zip(*pairs, strict=True))
    return [
        ("create an issue", f"{took * 1e3:,.2f} ms"),
        ("its bundle", f"{bundle:,.0f} bytes"),
        ("its pointer", f"{pointer:,.0f} bytes"),
    ]


def _beside(base: Path) -> list[tuple[str, str]]:
    """Restore the workspace; and bundle all of it with git, as is done without increments."""
    numbers = iter(range(100))
    with_files = _median(lambda: _restore(base, f"files{next(numbers)}"), rounds=5)
    alone = _median(lambda: _restore_repository(base, f"alone{next(numbers)}"), rounds=5)
    bundle = base / "whole.bundle"
    command = ["git", "-C", str(base / "one/ws"), "bundle", "create", "-q", str(bundle), "main"]
    took = _median(lambda: subprocess.run(command, check=True), rounds=5)
    return [
        ("restore, the repository", f"{alone * 1e3:,.0f} ms"),
        ("restore, with its files written", f"{with_files * 1e3:,.0f} ms"),
        ("git bundle of everything", f"{took * 1e3:,.0f} ms"),
        ("its size", f"{bundle.stat().st_size:,} bytes"),
    ]


def _restore(base: Path, name: str) -> None:
    with _opened(base, name):
        pass


def _restore_repository(base: Path, name: str) -> None:
    repository = Repository.open(base / name, engine_root=base / "engine")
    bundles = _bundles(FileBlobStore(base / "store"))
    with repository.turnstile.held():
        bundles.attach(repository).settle()
    bundles.close()
    repository.close()


def _in_the_long_run(folder: Path) -> str:
    """Time and bytes of commits of one line as they become many, with what is folded behind them."""
    folder.mkdir()
    rows: list[list[str]] = []
    took: list[float] = []
    with _opened(folder, "one", issues=100, upkeep=True) as (workspace, store):
        store.put_bytes.clear()
        for number in range(1, LONG_RUN + 1):
            edit = Put(f"contexts/notes/{number % 97}", b"One line, number %d.\n" % number)
            started = time.perf_counter()
            workspace.commit(lambda _, edit=edit: [edit], "bench", AUTHOR)  # type: ignore[misc]
            took.append(time.perf_counter() - started)
            if number in SIZES:
                last = statistics.median(took[-LAST:])
                average = sum(store.put_bytes) / number
                rows.append([f"{number:,}", f"{last * 1e3:,.2f} ms", f"{average:,.0f} bytes"])
    return table(["commits of one line", "median of the last 100", "uploaded each, so far"], rows)


def _throughput(folder: Path) -> str:
    rows = []
    for callers in CALLERS:
        base = folder / f"callers{callers}"
        base.mkdir()
        with _opened(base, "one", issues=10_000, seconds=LATENCY_SECONDS, upkeep=True) as (
            workspace,
            _,
        ):
            rate = _rate(workspace, callers)
        rows.append([f"commits a second, {callers} callers, 20 ms a request", f"{rate:,.0f}"])
    base = folder / "processes"
    base.mkdir()
    with _opened(base, "one", issues=1_000):
        pass
    rows.append([f"the same, {PROCESSES} machines with one caller each", f"{_machines(base):,.0f}"])
    return table(["what", "measured"], rows)


def _rate(workspace: Workspace, callers: int) -> float:
    until = time.perf_counter() + SECONDS
    done: list[int] = []

    def call(name: int) -> None:
        number = 0
        while time.perf_counter() < until:
            number += 1
            edit = Put(f"contexts/{name}/{number % 90}", f"{name} {number}".encode())
            workspace.commit(lambda _, edit=edit: [edit], "bench", AUTHOR)  # type: ignore[misc]
            done.append(1)

    started = time.perf_counter()
    threads = [threading.Thread(target=call, args=(name,)) for name in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.perf_counter() - started)


def _machines(base: Path) -> float:
    """Commits a second of processes that share nothing but the store."""
    command = [sys.executable, "-m", "bench.bundles", str(base)]
    machines = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    return sum(float(machine.communicate()[0]) for machine in machines)


@contextmanager
def _opened(
    base: Path,
    name: str,
    *,
    issues: int = 0,
    seconds: float = 0.0,
    upkeep: bool = False,
) -> Iterator[tuple[Workspace, Distant]]:
    clock = SystemClock()
    store = Distant(FileBlobStore(base / "store"), 0)
    bundles = _bundles(store)
    with ExitStack() as stack:
        stack.callback(bundles.close)
        workspace = Workspace.open(
            base / name / "ws",
            state_dir=base / name / "data",
            engine_root=base / "engine",
            seed=None,
            clock=clock,
            publish=bundles.attach,
        )
        stack.callback(workspace.close)
        if issues:
            workspace.commit(lambda _: _filling(issues), "bench: fill", AUTHOR)
        store.seconds = seconds
        if upkeep:
            bundles.start()
            stack.callback(bundles.stop)
        yield workspace, store


def _bundles(store: Any) -> Bundles:
    return Bundles(store, address="bench", workspace_id="bench", clock=SystemClock())


def _filling(count: int) -> Iterator[Edit]:
    clock = SystemClock()
    for number in range(1, count + 1):
        document = Document(
            id=issue_id(number), title=f"Totals of invoice {number} are off", body=BODY,
            labels=("billing",), created_by="bench", created_at=clock.now(),
            updated_by="bench", updated_at=clock.now(),
        )  # fmt: skip
        yield Put(document_path(number), encode(document))
    yield Put(COUNTER, b"%d\n" % (count + 1))


def _median(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _disk() -> Path:
    """Return a folder on the real disk: `/tmp` may be memory."""
    folder = Path(__file__).resolve().parents[1] / "var"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    with _opened(Path(sys.argv[1]), f"m{sys.argv[2]}", seconds=LATENCY_SECONDS, upkeep=True) as (
        opened,
        _,
    ):
        print(_rate(opened, 1))
