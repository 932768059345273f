"""Pages of 1,000,000 runs over HTTP against page 1 of 1,000.

Two servers, one connection, pages read in turns. `again` reads the same page,
whose rows are decoded already, as page 1 of a quiet workspace is; `new` reads
another page each time.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import storage
from bench.kit import load, servers
from bench.kit.figures import ratio
from bench.kit.load import Load, Loader
from bench.kit.table import table
from lib.storage.records import RunStatus
from lib.storage.sqlite import SqliteDatabase
from lib.web.paging import encode_cursor

FEW = 1_000
MANY = 1_000_000
PAGE_ROWS = 50
DEEP_PAGE = 10_000
PAGES_BELOW = 190
ROWS_APART = 50 * PAGE_ROWS  # a page of one of fifty workers: no row is read twice
ROUNDS = 9
SECONDS = 0.1
FILTERS = {
    "no filter": "",
    "worker": "&worker_id=worker-7",
    "status": "&status=completed",
    "worker and status": "&worker_id=worker-7&status=completed",
    "trigger": "&trigger=manual",
}


def main() -> str:
    """Measure; return the table."""
    with server_with(FEW) as (few, _), server_with(MANY) as (many, ids), load.loader() as loader:
        base = reading(few, [f"/runs?limit={PAGE_ROWS}"])
        readings = {f"page 1 of {FEW:,}": base, **dict(pages(many, ids))}
        took = in_turns(loader, readings)
    first = took[f"page 1 of {FEW:,}"]
    rows = [(name, f"{median_us(each):.0f} us", ratio(each, first)) for name, each in took.items()]
    return table([f"{PAGE_ROWS} rows over HTTP, one connection", "median", "of the first"], rows)


@contextmanager
def server_with(count: int) -> Iterator[tuple[int, list[str]]]:
    """Run a server that has this many runs; yield its port and the ids, oldest first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        with SqliteDatabase(folder / "data/floom.sqlite3") as database:
            ids = storage.load(database, storage.Maker(), count, RunStatus.COMPLETED)
        with servers.floom_on(folder, FLOOM_RETENTION_DAYS="0") as server:
            yield server.port, ids


def pages(port: int, ids: list[str]) -> Iterator[tuple[str, Load]]:
    """Yield what to read of the many."""
    end = len(ids) - PAGE_ROWS * (DEEP_PAGE - 1)
    for number, (name, query) in enumerate(FILTERS.items()):
        first = end - number * ROWS_APART // len(FILTERS)  # or one would warm the other's rows
        starts = ids[first : first - PAGES_BELOW * ROWS_APART : -ROWS_APART]
        target = f"/runs?limit={PAGE_ROWS}{query}"
        deep = [f"{target}&cursor={encode_cursor([start])}" for start in starts]
        yield f"page 1 of {MANY:,}, {name}", reading(port, [target])
        yield f"page {DEEP_PAGE:,}, {name}, again", reading(port, deep[:1])
        yield f"page {DEEP_PAGE:,} and below, {name}, new", reading(port, deep)


def reading(port: int, targets: list[str]) -> Load:
    """Return the load that reads these pages one after the other."""
    requests = tuple(load.get(port, target) for target in targets)
    return Load(port, requests, connections=1, seconds=SECONDS)


def in_turns(loader: Loader, readings: dict[str, Load]) -> dict[str, list[float]]:
    """Return the median seconds of a page in each round."""
    took: dict[str, list[float]] = {name: [] for name in readings}
    for _, (name, work) in itertools.product(range(ROUNDS), readings.items()):
        took[name].append(loader.run(work).median)
    return took


def median_us(seconds: list[float]) -> float:
    """Return the middle of the rounds, in microseconds."""
    return sorted(seconds)[len(seconds) // 2] * 1e6


if __name__ == "__main__":
    print(main())
