"""RunStore: whose turn it is, caps, and waiting for a time."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from lib.storage.ports import RunStore
from lib.storage.records import RunChange, RunQuery, RunRecord, RunStatus, Wait
from tests.contract.samples import Samples, ending, retrying, starting
from tests.contract.threads import together


def _claim(runs: RunStore, samples: Samples, limit: int = 1) -> list[str]:
    return [run.id for run in runs.claim(starting(samples.now), now=samples.now, limit=limit)]


def _create(runs: RunStore, samples: Samples, **fields: Any) -> str:
    change = samples.new(**fields)
    runs.create(change)
    return change.run.id


class TestOrder:
    def test_priority_then_age_then_id(self, runs: RunStore, samples: Samples) -> None:
        then = samples.now - timedelta(hours=1)
        late = _create(runs, samples, priority=5)
        early = _create(runs, samples, priority=5, queued_at=then)
        early_too = _create(runs, samples, priority=5, queued_at=then)
        high = _create(runs, samples, priority=9)
        low = _create(runs, samples, priority=0)

        assert _claim(runs, samples, 9) == [high, early, early_too, late, low]

    def test_no_more_than_the_limit(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples) for _ in range(5)]

        assert _claim(runs, samples, 2) == made[:2]
        assert _claim(runs, samples, 2) == made[2:4]
        assert _claim(runs, samples, 2) == made[4:]
        assert _claim(runs, samples, 2) == []

    def test_what_start_makes_is_stored_and_returned(
        self, runs: RunStore, samples: Samples
    ) -> None:
        run_id = _create(runs, samples)

        [run] = runs.claim(starting(samples.now, "me"), now=samples.now, limit=1)

        assert (run.id, run.status, run.fence, run.lease_owner) == (
            run_id,
            RunStatus.RUNNING,
            1,
            "me",
        )
        assert runs.get(run_id) == run
        assert [event.seq for event in runs.list_events(run_id)] == [1, 2]

    def test_an_error_of_start_leaves_all_as_it_was(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples) for _ in range(3)]
        start = starting(samples.now)

        def fail_at_the_last(run: RunRecord) -> RunChange:
            if run.id == made[2]:
                raise ValueError(run.id)
            return start(run)

        with pytest.raises(ValueError, match="run_"):
            runs.claim(fail_at_the_last, now=samples.now, limit=3)
        assert _claim(runs, samples, 3) == made

    def test_finished_runs_are_never_claimed(self, runs: RunStore, samples: Samples) -> None:
        run_id = _create(runs, samples)
        runs.change(run_id, ending(samples.now, RunStatus.CANCELLED))

        assert _claim(runs, samples) == []


class TestTime:
    def test_a_run_waits_for_its_time(self, runs: RunStore, samples: Samples) -> None:
        due = samples.now + timedelta(minutes=1)
        run_id = _create(runs, samples, waits=Wait.TIME, not_before=due)

        assert runs.next_due() == due
        assert not runs.is_any_claimable(now=samples.now)
        assert _claim(runs, samples) == []
        samples.clock.advance(seconds=60)
        assert runs.is_any_claimable(now=samples.now)
        assert _claim(runs, samples) == [run_id]
        assert not runs.is_any_claimable(now=samples.now)
        assert runs.get(run_id).waits is None
        assert runs.next_due() is None

    def test_the_earliest_time_is_due_next(self, runs: RunStore, samples: Samples) -> None:
        times = [samples.now + timedelta(minutes=minutes) for minutes in (3, 1, 2)]
        for at in times:
            _create(runs, samples, waits=Wait.TIME, not_before=at)

        assert runs.next_due() == times[1]

    def test_a_retry_is_claimed_again(self, runs: RunStore, samples: Samples) -> None:
        run_id = _create(runs, samples)
        _claim(runs, samples)
        runs.change(run_id, retrying(samples.now, samples.now + timedelta(minutes=1)))

        assert _claim(runs, samples) == []
        samples.clock.advance(minutes=2)
        assert _claim(runs, samples) == [run_id]
        assert runs.get(run_id).fence == 2

    def test_a_woken_run_stays_claimable_beyond_the_limit(
        self, runs: RunStore, samples: Samples
    ) -> None:
        due = samples.now + timedelta(seconds=1)
        made = [_create(runs, samples, waits=Wait.TIME, not_before=due) for _ in range(2)]
        samples.clock.advance(seconds=2)

        assert _claim(runs, samples) == made[:1]
        assert runs.next_due() is None
        assert _claim(runs, samples) == made[1:]

    def test_nothing_is_due_when_nothing_waits(self, runs: RunStore, samples: Samples) -> None:
        _create(runs, samples)

        assert runs.next_due() is None


class TestCap:
    def test_a_run_above_the_cap_waits_for_it(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples, cap=2) for _ in range(3)]
        other = _create(runs, samples, worker_id="other")

        assert _claim(runs, samples, 9) == [*made[:2], other]
        assert runs.get(made[2]).waits is Wait.CAP

    def test_held_runs_do_not_hide_other_work(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples, cap=1, priority=9) for _ in range(20)]
        other = _create(runs, samples, worker_id="other")

        assert _claim(runs, samples, 2) == [made[0], other]

    @pytest.mark.parametrize(
        "end", [RunStatus.COMPLETED, RunStatus.PENDING_APPROVAL, RunStatus.CANCELLED]
    )
    def test_a_run_that_leaves_lets_the_next_one_in(
        self, runs: RunStore, samples: Samples, end: RunStatus
    ) -> None:
        made = [_create(runs, samples, cap=1) for _ in range(3)]
        _claim(runs, samples, 9)

        runs.change(made[0], ending(samples.now, end))

        assert [runs.get(run_id).waits for run_id in made[1:]] == [None, Wait.CAP]
        assert _claim(runs, samples, 9) == [made[1]]

    def test_the_highest_priority_then_the_oldest_is_let_in(
        self, runs: RunStore, samples: Samples
    ) -> None:
        first = _create(runs, samples, cap=1)
        _claim(runs, samples)
        others = [_create(runs, samples, cap=1, priority=priority) for priority in (5, 9, 9)]
        _create(runs, samples, worker_id="other", cap=1, priority=9, waits=Wait.CAP)
        assert _claim(runs, samples, 9) == []

        runs.change(first, ending(samples.now))

        assert _claim(runs, samples, 9) == [others[1]]

    def test_a_retry_lets_the_next_one_in(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples, cap=1) for _ in range(2)]
        _claim(runs, samples, 9)
        assert runs.get(made[1]).waits is Wait.CAP

        runs.change(made[0], retrying(samples.now, samples.now + timedelta(seconds=1)))

        assert _claim(runs, samples, 9) == [made[1]]
        samples.clock.advance(seconds=2)
        assert _claim(runs, samples, 9) == []
        assert runs.get(made[0]).waits is Wait.CAP

    def test_a_run_cancelled_on_its_way_in_does_not_strand_the_rest(
        self, runs: RunStore, samples: Samples
    ) -> None:
        made = [_create(runs, samples, cap=1) for _ in range(3)]
        _claim(runs, samples, 9)
        runs.change(made[0], ending(samples.now))  # lets made[1] in

        runs.change(made[1], ending(samples.now, RunStatus.CANCELLED))

        assert _claim(runs, samples, 9) == [made[2]]


class TestConcurrency:
    def test_each_run_is_claimed_once(self, runs: RunStore, samples: Samples) -> None:
        made = [_create(runs, samples) for _ in range(500)]
        start = starting(samples.now)

        def work(_: int) -> list[str]:
            mine: list[str] = []
            while claimed := runs.claim(start, now=samples.now, limit=3):
                mine.extend(run.id for run in claimed)
            return mine

        results = together(work)

        assert not [result for result in results if isinstance(result, Exception)]
        claimed = [run_id for result in results if isinstance(result, list) for run_id in result]
        assert sorted(claimed) == made

    def test_caps_are_never_exceeded_and_all_runs_get_through(
        self, runs: RunStore, samples: Samples
    ) -> None:
        caps = {"one": 1, "three": 3, "free": 0}
        for number in range(120):
            worker_id = ("one", "three", "free")[number % 3]
            _create(runs, samples, worker_id=worker_id, cap=caps[worker_id])
        running: Counter[str] = Counter()
        highest: Counter[str] = Counter()
        lock = threading.Lock()

        def enter(run: RunRecord) -> None:
            with lock:
                running[run.worker_id] += 1
                highest[run.worker_id] = max(highest[run.worker_id], running[run.worker_id])

        def leave(run: RunRecord) -> None:
            with lock:
                running[run.worker_id] -= 1
            runs.change(run.id, ending(samples.now))

        def work(_: int) -> int:
            done = 0
            while runs.totals(now=samples.now).queued:
                for run in runs.claim(starting(samples.now), now=samples.now, limit=2):
                    enter(run)
                    leave(run)
                    done += 1
            return done

        results = together(work, 8)

        assert sum(result for result in results if isinstance(result, int)) == 120
        assert highest["one"] == 1
        assert highest["three"] <= 3
        completed = RunQuery(statuses=frozenset({RunStatus.COMPLETED}))
        assert len(runs.list(completed, limit=200).rows) == 120
