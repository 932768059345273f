"""Deleting runs in transactions that are short, whatever the runs have left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from lib.storage.records import RunChange, RunRecord
from lib.storage.sqlite import SqliteDatabase, SqliteRunStore, retention
from lib.storage.stored import MAX_INLINE_BYTES
from tests.contract.samples import Samples, ending, starting

RUNS = 50


def leave(runs: SqliteRunStore, samples: Samples, run: RunRecord, size: int) -> None:
    """End a run, with four artifacts of this size."""
    artifacts = tuple(
        replace(samples.artifact(run.id, f"{number}"), size=size, data=bytes(size))
        for number in range(4)
    )
    runs.change(run.id, lambda current: RunChange(current, artifacts=artifacts))
    runs.change(run.id, ending(samples.now))


@pytest.mark.parametrize(("size", "least", "most"), [(1, RUNS, RUNS), (MAX_INLINE_BYTES, 5, 20)])
def test_a_transaction_deletes_fewer_runs_of_those_that_left_much(
    runs: SqliteRunStore,
    database: SqliteDatabase,
    samples: Samples,
    size: int,
    least: int,
    most: int,
) -> None:
    for _ in range(RUNS):
        runs.create(samples.new())
    claimed = runs.claim(starting(samples.now), now=samples.now, limit=RUNS)
    for run in claimed:
        leave(runs, samples, run, size)
    samples.clock.advance(seconds=1)
    run_ids = [run.id for run in claimed]

    deleted = runs.write(partial(retention.delete, run_ids=run_ids, before=samples.now))

    assert least <= deleted <= most
    runs.delete(run_ids, before=samples.now)
    assert database.read("SELECT count(*) FROM artifacts") == [(0,)]
