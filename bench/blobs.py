"""What the sweep of blobs costs at a million runs that name a million blobs.

Files are empty and rows are written straight into the tables: the sweep reads
names, dates and references, never contents.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path

from bench.kit.table import table
from bench.storage import Maker, load
from lib.runs.blob_sweep import MAX_BLOBS, BlobSweep
from lib.storage.content import ContentStore
from lib.storage.files import FileBlobStore
from lib.storage.keys import content_key
from lib.storage.records import RunStatus
from lib.storage.sqlite import SqliteBlobReferences, SqliteDatabase, SqliteRunStore

BLOBS = 1_000_000
BATCH = 10_000
ONE_UNNAMED_IN = 1_000
RUNS_DELETED = 10_000
CREATES = 500
ADD = "INSERT INTO blob_refs (owner, item, sha256) VALUES (?, 'run', ?)"


def main() -> str:
    """Measure everything; return the table."""
    with tempfile.TemporaryDirectory() as folder, SqliteDatabase(Path(folder) / "db") as database:
        maker = Maker()
        run_ids = load(database, maker, BLOBS, RunStatus.COMPLETED)
        _make_blobs(Path(folder) / "blobs", database, run_ids)
        maker.clock.advance(days=1000)
        blobs = FileBlobStore(Path(folder) / "blobs", clock=maker.clock)
        sweep = BlobSweep(
            content=ContentStore(blobs),
            references=SqliteBlobReferences(database),
            clock=maker.clock,
        )
        return table(("what", "measured", "of it"), _figures(database, sweep, maker))


def _figures(
    database: SqliteDatabase, sweep: BlobSweep, maker: Maker
) -> Iterator[tuple[str, str, str]]:
    wall, cpu, gone = _timed(sweep.sweep)
    share = f"{cpu / 3600:.2%} of a core, hourly"
    yield f"a sweep of {MAX_BLOBS:,} of {BLOBS:,} blobs", f"{wall:.2f} s", share
    yield "blobs that it deleted", f"{gone:,}", f"{cpu / MAX_BLOBS * 1e6:.0f} us of CPU a blob"
    runs = SqliteRunStore(database)
    alone = _creates(runs, maker)
    sweeping = threading.Thread(target=sweep.sweep)
    sweeping.start()
    beside = _creates(runs, maker)
    sweeping.join()
    yield "a durable create, alone", f"{alone * 1e6:.0f} us", "1.00x"
    yield "a durable create, beside a sweep", f"{beside * 1e6:.0f} us", f"{beside / alone:.2f}x"
    before = maker.clock.now()
    run_ids = runs.list_finished(before=before, limit=RUNS_DELETED)
    begun = time.perf_counter()
    runs.delete(run_ids, before=before)
    wall = time.perf_counter() - begun
    yield (
        f"deleting {RUNS_DELETED:,} runs",
        f"{wall:.2f} s",
        f"{wall / RUNS_DELETED * 1e6:.0f} us a run",
    )


def _make_blobs(root: Path, database: SqliteDatabase, run_ids: list[str]) -> None:
    """Write an empty file for each run, all but one in a thousand with its name."""
    for number in range(256):
        (root / "sha256" / f"{number:02x}").mkdir(parents=True)
    for first in range(0, len(run_ids), BATCH):
        rows = []
        for number, run_id in enumerate(run_ids[first : first + BATCH], start=first):
            sha256 = hashlib.sha256(run_id.encode()).hexdigest()
            (root / content_key(sha256)).touch()
            if number % ONE_UNNAMED_IN:
                rows.append((run_id, sha256))
        database.write(methodcaller("executemany", ADD, rows))


def _timed(call: Callable[[], int]) -> tuple[float, float, int]:
    """Return wall time, CPU time and what the call returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def _creates(runs: SqliteRunStore, maker: Maker) -> float:
    """Return the median seconds of a create."""
    times = []
    for change in [maker.new() for _ in range(CREATES)]:
        begun = time.perf_counter()
        runs.create(change)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    print(main())
