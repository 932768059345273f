"""Pages of 1,000,000 runs over HTTP against page 1 of 1,000.

Two servers, one connection, pages read in turns. `again` reads the same page,
which the server still has; it is compared with page 1 of 1,000, read so too.
`new` reads another page each time, none of whose rows was read before; it is
compared with pages of the 1,000 that the server has to read as well, each
starting one run further down.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import storage
from bench.kit import load, servers
from bench.kit.figures import paired, ratio
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
NEW = ", new"
FEW_AGAIN = f"page 1 of {FEW:,}"
FEW_NEW = f"any page of {FEW:,}{NEW}"
FILTERS = {
    "no filter": "",
    "worker": "&worker_id=worker-7",
    "status": "&status=completed",
    "worker and status": "&worker_id=worker-7&status=completed",
    "trigger": "&trigger=manual",
}


def main() -> str:
    """Measure; return the table."""
    with (
        server_with(FEW) as (few, few_ids),
        server_with(MANY) as (many, ids),
        load.loader() as loader,
    ):
        readings = {**dict(bases(few, few_ids)), **dict(pages(many, ids))}
        took = in_turns(loader, readings)
    rows = [
        (name, f"{median_us(each):.0f} us", ratio(each, took[base_of(name)]))
        for name, each in took.items()
    ]
    return table([f"{PAGE_ROWS} rows over HTTP, one connection", "median", paired("1,000's")], rows)


def bases(port: int, ids: list[str]) -> Iterator[tuple[str, Load]]:
    """Yield what to read of the few: one page, and pages that were not read before."""
    target = f"/runs?limit={PAGE_ROWS}"
    yield FEW_AGAIN, reading(port, [target])
    starts = ids[: PAGE_ROWS - 1 : -1]  # every page but the first is full
    yield FEW_NEW, reading(port, [f"{target}&cursor={encode_cursor([each])}" for each in starts])


def base_of(name: str) -> str:
    """Return the name of the reading that this one is compared with."""
    return FEW_NEW if name.endswith(NEW) else FEW_AGAIN


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
        yield f"page {DEEP_PAGE:,} and below, {name}{NEW}", reading(port, deep)


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
