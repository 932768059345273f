"""What the SQLite adapter costs: durable writes, claims, lists at any depth.

Times are medians. Lists are measured twice: `again` is a page whose summaries
are decoded already, `fresh` one that must be decoded.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import methodcaller
from pathlib import Path

from lib.clock import ManualClock
from lib.ids import Ids
from lib.manifest.policies import Concurrency, Limits, Retry
from lib.storage.documents import decode_summary, encode_detail, encode_summary
from lib.storage.records import (
    LogLine,
    RunChange,
    RunEvent,
    RunPolicy,
    RunQuery,
    RunRecord,
    RunStatus,
    Trigger,
)
from lib.storage.sqlite import SqliteDatabase, SqliteLogStore, SqliteRunStore
from lib.storage.stored import Stored

CREATES = 4_000
QUEUED = 100_000
MANY_RUNS = 1_000_000
FEW_RUNS = 1_000
PAGE_ROWS = 50
DEEP_PAGE = 10_000
ROUNDS = 200
BATCH = 10_000

LOAD = """
INSERT INTO runs (
    id, worker_id, "trigger", cap, status, priority, queued_at, fence, finished_at, summary, detail
) VALUES (?, ?, 'manual', 0, ?, 5, ?, 0, ?, ?, ?)
"""


class Maker:
    """Makes runs a millisecond apart."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self._ids = Ids(self.clock)

    def run(self, status: RunStatus = RunStatus.QUEUED) -> RunRecord:
        """Return a run of one of fifty workers."""
        at = self.clock.advance(milliseconds=1)
        return RunRecord(
            id=self._ids.new("run"),
            worker_id=f"worker-{at.microsecond // 1000 % 50}",
            worker_sha="a" * 40,
            commit="b" * 40,
            status=status,
            trigger=Trigger("manual", by="local-user"),
            created_at=at,
            queued_at=at,
            finished_at=at if status.is_final else None,
            inputs=Stored(15, text='{"who":"world"}'),
            effect_key="c" * 32,
            manifest_digest="d" * 64,
            policy=RunPolicy(Limits(), Retry(), Concurrency()),
            event_count=1,
        )

    def new(self) -> RunChange:
        """Return a queued run and its first event."""
        run = self.run()
        return RunChange(run, (RunEvent(1, run.created_at, "status", {"status": "queued"}),))


def main() -> str:
    """Measure everything; return the table."""
    rows = [*creates(), *steps(), claims(), *lists()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {figure}" for name, figure in rows)


def creates() -> Iterator[tuple[str, str]]:
    maker = Maker()
    for threads in (1, 8, 32):
        changes = [maker.new() for _ in range(CREATES)]
        with _database() as database:
            runs = SqliteRunStore(database)
            shares = [changes[number::threads] for number in range(threads)]
            seconds = _in_threads([partial(_create_all, runs, share) for share in shares])
        yield f"durable creates, {threads} threads", f"{CREATES / seconds:,.0f} a second"


def _create_all(runs: SqliteRunStore, changes: list[RunChange]) -> None:
    for change in changes:
        runs.create(change)


def steps() -> Iterator[tuple[str, str]]:
    """One caller: the calls of a run's life."""
    maker = Maker()
    with _database() as database:
        runs, logs = SqliteRunStore(database), SqliteLogStore(database)
        changes = iter([maker.new() for _ in range(ROUNDS)])
        claimed: list[RunRecord] = []
        line = LogLine(1, maker.clock.now(), "info", "stdout", "hello, world")

        yield "create", _micros(lambda: runs.create(next(changes)))
        yield "claim", _micros(lambda: claimed.extend(_claim(runs, maker)))
        yield "get", _micros(lambda: runs.get(claimed[0].id))
        going = iter(claimed)
        yield "append to the log", _micros(lambda: logs.append(next(going).id, [line]))
        ended = iter(claimed)
        yield "change (finish)", _micros(lambda: runs.change(next(ended).id, _finish))


def claims() -> tuple[str, str]:
    maker = Maker()
    with _database() as database:
        load(database, maker, QUEUED, RunStatus.QUEUED)
        runs = SqliteRunStore(database)
        return f"claim one of {QUEUED:,} queued", _micros(lambda: _claim(runs, maker))


def lists() -> Iterator[tuple[str, str]]:
    """Compare pages with page 1 of few runs, measured in turns."""
    with _database() as small, _database() as large:
        few = load(small, Maker(), FEW_RUNS, RunStatus.COMPLETED)
        ids = load(large, Maker(), MANY_RUNS, RunStatus.COMPLETED)
        deep = ids[-PAGE_ROWS * (DEEP_PAGE - 1) :: PAGE_ROWS][:ROUNDS]
        base = Reading(SqliteRunStore(small), RunQuery(), few[-1:])
        runs = SqliteRunStore(large)
        yield f"page 1 of {FEW_RUNS:,}", _compared(base, base)
        for name, query in {
            "no filter": RunQuery(),
            "worker": RunQuery(worker_id="worker-7"),
            "status": RunQuery(statuses=frozenset({RunStatus.COMPLETED})),
            "worker, two statuses": RunQuery(
                worker_id="worker-7", statuses=frozenset({RunStatus.COMPLETED, RunStatus.FAILED})
            ),
            "trigger": RunQuery(trigger="manual"),
        }.items():
            top = Reading(runs, query, ids[-1:])
            yield f"page 1 of {MANY_RUNS:,}, {name}", _compared(top, base)
            below = Reading(runs, query, deep)
            yield f"page {DEEP_PAGE:,} of it, {name}", _compared(below, base)


@dataclass(frozen=True)
class Reading:
    """A list to read, from one of several starts."""

    runs: SqliteRunStore
    query: RunQuery
    starts: list[str]

    def seconds(self, number: int) -> tuple[float, float]:
        """Return the time of a page that was just read, and of a fresh one."""
        after = self.starts[number % len(self.starts)]
        decode_summary.cache_clear()
        fresh, again = (self._seconds(after) for _ in range(2))
        return again, fresh

    def _seconds(self, after: str) -> float:
        begun = time.perf_counter()
        page = self.runs.list(self.query, limit=PAGE_ROWS, after=after)
        seconds = time.perf_counter() - begun
        assert len(page.rows) == PAGE_ROWS
        return seconds


def _compared(reading: Reading, base: Reading) -> str:
    rounds = [(*reading.seconds(number), *base.seconds(number)) for number in range(ROUNDS)]
    again, fresh, base_again, base_fresh = map(statistics.median, zip(*rounds, strict=True))
    return (
        f"again {again * 1e6:4.0f} us ({again / base_again:.2f}x)   "
        f"fresh {fresh * 1e6:4.0f} us ({fresh / base_fresh:.2f}x)"
    )


def _claim(runs: SqliteRunStore, maker: Maker) -> list[RunRecord]:
    now = maker.clock.now()
    return runs.claim(_start, now=now, limit=1)


def _start(run: RunRecord) -> RunChange:
    until = run.queued_at + timedelta(seconds=30)
    after = replace(
        run,
        status=RunStatus.RUNNING,
        lease_owner="bench",
        lease_until=until,
        fence=run.fence + 1,
        event_count=run.event_count + 1,
    )
    event = RunEvent(after.event_count, run.queued_at, "status", {"status": "running"})
    return RunChange(after, (event,))


def _finish(run: RunRecord) -> RunChange:
    after = replace(
        run,
        status=RunStatus.COMPLETED,
        lease_owner=None,
        lease_until=None,
        finished_at=run.queued_at,
        outputs=Stored(15, text='{"who":"world"}'),
        event_count=run.event_count + 1,
    )
    event = RunEvent(after.event_count, run.queued_at, "status", {"status": "completed"})
    return RunChange(after, (event,))


class _database(SqliteDatabase):  # noqa: N801 - used as a context manager only
    """A database in a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(Path(self._folder.name) / "bench.db")

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def load(database: SqliteDatabase, maker: Maker, count: int, status: RunStatus) -> list[str]:
    """Put rows straight into the table, a batch a transaction; return their ids."""
    ids: list[str] = []
    template = maker.run(status)
    summary, detail = encode_summary(template), encode_detail(template)
    while len(ids) < count:
        rows = []
        for _ in range(min(BATCH, count - len(ids))):
            run = maker.run(status)
            text = summary.replace(template.id, run.id).replace(template.worker_id, run.worker_id)
            at = len(ids)
            rows.append((run.id, run.worker_id, status.value, at, at, text, detail))
            ids.append(run.id)
        database.write(methodcaller("executemany", LOAD, rows))
    return ids


def _in_threads(tasks: list[Callable[[], object]]) -> float:
    threads = [threading.Thread(target=task) for task in tasks]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def _micros(call: Callable[[], object]) -> str:
    """Return wall time, and CPU time of the whole process, of a call."""
    wall, cpu = [], time.process_time()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        call()
        wall.append(time.perf_counter() - begun)
    busy = (time.process_time() - cpu) / ROUNDS
    return f"{statistics.median(wall) * 1e6:.0f} us, CPU {busy * 1e6:.0f} us"


if __name__ == "__main__":
    print(main())
