"""RunStore: counters of workers and of the workspace."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.storage.ports import RunExists, RunStore, StaleFence
from lib.storage.records import (
    LastRun,
    RunChange,
    RunRecord,
    RunStatus,
    RunTotals,
    WorkerFacts,
)
from tests.contract.samples import Samples, ending, retrying, starting
from tests.contract.stores import open_stores

S = RunStatus


def play(runs: RunStore, samples: Samples, worker_id: str, end: RunStatus) -> str:
    """Run a worker once; return the run's id."""
    change = samples.new(worker_id, priority=9)
    runs.create(change)
    runs.claim(starting(samples.now), now=samples.now, limit=1)
    runs.change(change.run.id, ending(samples.now, end, duration_ms=40))
    return change.run.id


class TestWorkerFacts:
    def test_a_worker_that_never_ran_has_none(self, runs: RunStore, samples: Samples) -> None:
        assert runs.worker_facts(now=samples.now) == {}
        assert runs.find_worker_facts("a", now=samples.now) is None

    def test_figures_by_worker(self, runs: RunStore, samples: Samples) -> None:
        play(runs, samples, "a", S.COMPLETED)
        play(runs, samples, "a", S.FAILED)
        last = play(runs, samples, "a", S.CANCELLED)
        created_at = samples.now
        runs.create(samples.new("b"))

        facts = runs.worker_facts(now=samples.now)
        assert {name: runs.find_worker_facts(name, now=samples.now) for name in facts} == facts

        assert facts["a"] == WorkerFacts(
            last_run=LastRun(last, S.CANCELLED, created_at, 40),
            runs_7d=3,
            succeeded_7d=1,
            finished_7d=2,
            failure_streak=0,
        )
        assert facts["b"].last_run is not None
        assert facts["b"].last_run.status is S.QUEUED
        assert facts["b"].runs_7d == 1
        assert sorted(facts) == ["a", "b"]

    def test_failures_in_a_row(self, runs: RunStore, samples: Samples) -> None:
        def streak() -> int:
            return runs.worker_facts(now=samples.now)["a"].failure_streak

        play(runs, samples, "a", S.COMPLETED)
        for expected in (1, 2, 3):
            play(runs, samples, "a", S.FAILED)
            assert streak() == expected
        play(runs, samples, "b", S.COMPLETED)
        play(runs, samples, "a", S.PENDING_APPROVAL)
        assert streak() == 3
        play(runs, samples, "a", S.CANCELLED)
        assert streak() == 0

    def test_a_retry_is_no_failure_yet(self, runs: RunStore, samples: Samples) -> None:
        runs.create(samples.new("a"))
        [run] = runs.claim(starting(samples.now), now=samples.now, limit=1)
        runs.change(run.id, retrying(samples.now, samples.now))

        assert runs.worker_facts(now=samples.now)["a"].failure_streak == 0
        assert runs.worker_facts(now=samples.now)["a"].finished_7d == 0

    def test_a_week_has_168_hours(self, runs: RunStore, samples: Samples) -> None:
        play(runs, samples, "a", S.FAILED)
        play(runs, samples, "b", S.COMPLETED)

        in_the_last = samples.now + timedelta(hours=167)
        beyond = samples.now + timedelta(hours=168)

        assert runs.worker_facts(now=in_the_last)["a"].finished_7d == 1
        assert runs.totals(now=in_the_last).succeeded_7d == 1
        assert runs.worker_facts(now=beyond)["a"].runs_7d == 0
        assert runs.worker_facts(now=beyond)["a"].finished_7d == 0
        assert runs.worker_facts(now=beyond)["a"].failure_streak == 1
        assert runs.totals(now=beyond).finished_7d == 0


class TestTotals:
    def test_an_empty_store(self, runs: RunStore, samples: Samples) -> None:
        assert runs.totals(now=samples.now) == RunTotals(by_hour=(0,) * 24)

    def test_what_stands_where(self, runs: RunStore, samples: Samples) -> None:
        for end in (S.COMPLETED, S.COMPLETED, S.FAILED, S.CANCELLED, S.PENDING_APPROVAL):
            play(runs, samples, "a", end)
        runs.create(samples.new("b"))
        runs.create(samples.new("b"))
        runs.claim(starting(samples.now), now=samples.now, limit=1)

        totals = runs.totals(now=samples.now)

        assert (totals.queued, totals.running, totals.pending_approval) == (1, 1, 1)
        assert (totals.succeeded_7d, totals.finished_7d) == (2, 3)
        assert totals.by_hour == (0,) * 23 + (7,)

    def test_hours_oldest_first(self, runs: RunStore, samples: Samples) -> None:
        for count in (1, 2, 3):
            for _ in range(count):
                runs.create(samples.new())
            samples.clock.advance(hours=1)

        assert runs.totals(now=samples.now).by_hour[-4:] == (1, 2, 3, 0)
        day = runs.totals(now=samples.now + timedelta(hours=21)).by_hour
        assert (day[0], sum(day)) == (2, 5)

    def test_what_did_not_happen_is_not_counted(self, runs: RunStore, samples: Samples) -> None:
        change = samples.new()
        runs.create(change)
        before = runs.totals(now=samples.now)

        with pytest.raises(RunExists):
            runs.create(change)
        with pytest.raises(StaleFence):
            runs.claim(_refuse, now=samples.now, limit=1)
        with pytest.raises(StaleFence):
            runs.change(change.run.id, _refuse)

        assert runs.totals(now=samples.now) == before


def _refuse(run: RunRecord) -> RunChange:
    raise StaleFence(run.id)


STEP = st.tuples(
    st.sampled_from(["create", "claim", "end", "wait"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([S.COMPLETED, S.FAILED, S.CANCELLED, S.PENDING_APPROVAL]),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_counters_agree_with_the_runs(
    backend: str, steps: list[tuple[str, str, RunStatus]]
) -> None:
    samples = Samples()
    with open_stores(backend, samples.clock) as stores:
        runs = stores.runs
        made: list[str] = []
        for step, worker_id, end in steps:
            if step == "create":
                change = samples.new(worker_id)
                runs.create(change)
                made.append(change.run.id)
            elif step == "claim":
                runs.claim(starting(samples.now), now=samples.now, limit=1)
            elif step == "wait":
                samples.clock.advance(minutes=17)
            elif leased := runs.list_leased("server-1"):
                runs.change(leased[0].id, ending(samples.now, end))
        totals = runs.totals(now=samples.now)
        facts = runs.worker_facts(now=samples.now)
        stored = [runs.get(run_id) for run_id in made]

    def count(*statuses: RunStatus, worker_id: str | None = None) -> int:
        return sum(run.status in statuses and worker_id in (None, run.worker_id) for run in stored)

    assert totals.queued == count(S.QUEUED)
    assert totals.running == count(S.RUNNING)
    assert totals.pending_approval == count(S.PENDING_APPROVAL)
    assert totals.finished_7d == count(S.COMPLETED, S.FAILED)
    assert sum(totals.by_hour) == len(stored)
    for worker_id, fact in facts.items():
        assert fact.succeeded_7d == count(S.COMPLETED, worker_id=worker_id)
        assert fact.finished_7d == count(S.COMPLETED, S.FAILED, worker_id=worker_id)
        mine = [run for run in stored if run.worker_id == worker_id]
        assert fact.runs_7d == len(mine)
        assert fact.last_run is not None
        assert fact.last_run.id == mine[-1].id
    assert set(facts) == {run.worker_id for run in stored}
