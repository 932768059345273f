"""Runs in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from lib.clock import from_milliseconds, to_milliseconds
from lib.storage.documents import ARTIFACTS, EVENTS, decode_run, decode_summary
from lib.storage.ports import Creation, Page
from lib.storage.records import (
    Artifact,
    IdempotencyClaim,
    Lease,
    RunChange,
    RunEvent,
    RunQuery,
    RunRecord,
    RunSummary,
    RunTotals,
    StoredAnswer,
    WorkerFacts,
)
from lib.storage.sqlite import belongings, changes, claims, counters, retention, run_rows, work
from lib.storage.sqlite.database import SqliteDatabase
from lib.storage.sqlite.run_lists import read_page
from lib.storage.sqlite.writer import Operation

Result = TypeVar("Result")


class SqliteRunStore:
    """A RunStore on a database that may hold other stores, too.

    Writes are operations of the database's one writer: `decide` and `start` run
    there, inside the transaction, once.

    Attributes:
        database: Where the runs are.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self._version = 0
        self._counting = threading.Lock()

    def version(self) -> int:
        """Return how often this store was written; its file has no other writer of runs."""
        return self._version

    def write(
        self,
        operation: Operation[Result],
        *,
        changed: Callable[[Result], bool] = lambda _: True,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Result:
        """Run `operation` in a transaction; count it where `changed` says so of its result."""
        shows = True  # also if it fails: nobody knows then how far it came
        try:
            result = self.database.write(operation, meanwhile)
            shows = changed(result)
            return result
        finally:
            if shows:
                with self._counting:
                    self._version += 1

    def create(
        self,
        change: RunChange,
        *,
        claim: IdempotencyClaim | None = None,
        start: Callable[[RunRecord], RunChange] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Creation:
        """Insert a new queued run, and settle `claim`, as one unit."""

        def operation(connection: sqlite3.Connection) -> Creation:
            if claim is not None:
                answer = claims.find_answer(
                    connection, claim.key, claim.body_digest, now=change.run.created_at
                )
                if answer is not None:
                    return Creation(run=None, replayed=answer)
                claims.put(connection, claim)
            started = start and work.start_new(connection, change, start)
            changes.create(connection, started or change)
            return Creation(change.run, started=started.run if started else None)

        return self.write(operation, meanwhile=meanwhile)

    def find_answer(self, key: str, body_digest: str, *, now: datetime) -> StoredAnswer | None:
        """Return the answer that the same request got, if its claim still lives."""
        with self.database.reading() as connection:
            return claims.find_answer(connection, key, body_digest, now=now)

    def get(self, run_id: str) -> RunRecord:
        """Return a run. Raises RunNotFound."""
        with self.database.reading() as connection:
            return run_rows.load(connection, run_id)

    def change(self, run_id: str, decide: Callable[[RunRecord], RunChange | None]) -> RunRecord:
        """Replace a run by what `decide` makes of it, atomically."""

        def operation(connection: sqlite3.Connection) -> RunRecord:
            run = run_rows.load(connection, run_id)
            change = decide(run)
            if change is None:
                return run
            changes.apply(connection, run, change)
            return change.run

        return self.write(operation)

    def claim(
        self, start: Callable[[RunRecord], RunChange], *, now: datetime, limit: int
    ) -> list[RunRecord]:
        """Apply `start` to up to `limit` claimable runs, as one unit; return them."""
        if not self.is_any_claimable(now=now):  # after each end of a run there is seldom any
            return []
        return self.write(
            lambda connection: work.claim(connection, start, now=now, limit=limit), changed=bool
        )

    def is_any_claimable(self, *, now: datetime) -> bool:
        """Whether `claim` may find a run."""
        with self.database.reading() as connection:
            return work.is_any_claimable(connection, now=now)

    def renew(self, leases: Sequence[Lease], *, until: datetime) -> list[str]:
        """Extend leases. Returns ids of runs whose fence is no longer ours."""
        return self.database.write(lambda connection: work.renew(connection, leases, until))

    def next_due(self) -> datetime | None:
        """Return the earliest `not_before` of runs that wait for time, if any."""
        rows = self.database.read(work.NEXT_DUE)
        return from_milliseconds(rows[0][0]) if rows else None

    def list_leased(self, owner: str) -> list[RunRecord]:
        """Return all running runs that `owner` holds, oldest first."""
        return [decode_run(*row) for row in self.database.read(work.LIST_LEASED, (owner,))]

    def list_expired(self, *, now: datetime, limit: int) -> list[RunRecord]:
        """Return running runs whose lease ended before `now`, longest ago first."""
        values = (to_milliseconds(now), limit)
        return [decode_run(*row) for row in self.database.read(work.LIST_EXPIRED, values)]

    def list_worker_runs(self, worker_id: str, *, limit: int) -> list[RunSummary]:
        """Return a worker's newest runs, newest first."""
        return [*self.list(RunQuery(worker_id=worker_id), limit=limit).rows]

    def list_events(self, run_id: str, *, after: int = 0) -> list[RunEvent]:
        """Return a run's events with `seq` above `after`, in order."""
        rows = self.database.read(belongings.LIST_EVENTS, (run_id, after))
        return [EVENTS.decode(row[0]) for row in rows]

    def list_artifacts(self, run_id: str) -> list[Artifact]:
        """Return a run's artifacts by name, without their bytes."""
        rows = self.database.read(belongings.LIST_ARTIFACTS, (run_id,))
        return [ARTIFACTS.decode(row[0]) for row in rows]

    def find_artifact(self, run_id: str, name: str) -> Artifact | None:
        """Return the artifact of a run by name, if any."""
        for document, data in self.database.read(belongings.FIND_ARTIFACT, (run_id, name)):
            return replace(ARTIFACTS.decode(document), data=data)
        return None

    def worker_facts(self, *, now: datetime) -> Mapping[str, WorkerFacts]:
        """Return the counters of every worker that ever ran."""
        with self.database.snapshot() as connection:
            return counters.worker_facts(connection, now)

    def find_worker_facts(self, worker_id: str, *, now: datetime) -> WorkerFacts | None:
        """Return the counters of one worker; None if it never ran."""
        with self.database.snapshot() as connection:
            return counters.find_worker_facts(connection, worker_id, now)

    def totals(self, *, now: datetime) -> RunTotals:
        """Return the workspace's counters, without scanning runs."""
        with self.database.snapshot() as connection:
            return counters.totals(connection, now)

    def list_finished(self, *, before: datetime, limit: int) -> list[str]:
        """Return ids of runs that finished before `before`, those that did so first first."""
        values = (to_milliseconds(before), limit)
        return [row[0] for row in self.database.read(retention.LIST_FINISHED, values)]

    def delete(self, run_ids: Sequence[str], *, before: datetime) -> None:
        """Delete those of these runs that finished before `before`, with all they own."""
        left = [*run_ids]
        while left:
            done = self.write(partial(retention.delete, run_ids=left, before=before))
            left = left[done:]
            self.database.reclaim()

    def check(self) -> None:
        """Write and read something. Raises StoreUnavailable."""
        self.database.check()

    def list(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[RunSummary]:
        """Return a page of runs, newest first, below id `after`."""
        page = self.list_json(query, limit=limit, after=after)
        return Page(tuple([decode_summary(text) for text in page.rows]), page.next_key)

    def list_json(self, query: RunQuery, *, limit: int, after: str | None = None) -> Page[str]:
        """Return the page that `list` returns, each run as JSON text."""
        with self.database.reading() as connection:
            return read_page(connection, query, limit, after)
