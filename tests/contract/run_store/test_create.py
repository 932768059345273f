"""RunStore: creating and reading runs."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lib.storage.ports import (
    ConcurrencyReached,
    Creation,
    IdempotencyKeyReused,
    RunExists,
    RunNotFound,
    RunStore,
)
from lib.storage.records import Phase, RunError, RunQuery, RunStatus, SandboxReport, Trigger, Wait
from lib.storage.stored import Stored
from tests.contract.samples import Samples, ending, starting
from tests.contract.threads import together


class TestCreate:
    def test_a_created_run_is_read_back_whole(self, runs: RunStore, samples: Samples) -> None:
        change = samples.new()
        full = replace(
            change.run,
            phase=Phase.PROPOSE,
            trigger=Trigger("webhook", ref="delivery-1", by=None),
            priority=9,
            error=RunError("timeout", "Too slow: ünïcode \u2028", "detail"),
            attempt=3,
            parent_run_id=samples.id("run"),
            started_at=samples.now,
            finished_at=samples.now,
            duration_ms=1,
            runner="local",
            sandbox=SandboxReport("a", "b", "c", "d", "e"),
            cost_usd=0.125,
            tokens=7,
            outputs=Stored(99_999, sha256="1" * 64),
            waits=Wait.TIME,
            not_before=samples.now,
            lease_owner="server",
            lease_until=samples.now,
            fence=4,
            attempt_started_at=samples.now,
            cancel_requested_at=samples.now,
        )

        assert runs.create(replace(change, run=full)) == Creation(full)
        assert runs.get(full.id) == full
        assert runs.list_events(full.id) == [*change.events]

    def test_an_unknown_run_is_not_found(self, runs: RunStore, samples: Samples) -> None:
        with pytest.raises(RunNotFound, match="run_"):
            runs.get(samples.id("run"))

    def test_an_id_is_used_once(self, runs: RunStore, samples: Samples) -> None:
        change = samples.new()
        runs.create(change)

        with pytest.raises(RunExists):
            runs.create(replace(change, run=replace(change.run, worker_id="other")))

        assert runs.get(change.run.id) == change.run
        assert runs.totals(now=samples.now).queued == 1
        assert "other" not in runs.worker_facts(now=samples.now)

    def test_what_a_new_run_waits_for_is_taken_as_given(
        self, runs: RunStore, samples: Samples
    ) -> None:
        runs.create(samples.new(waits=Wait.CAP, cap=5))

        assert runs.claim(starting(samples.now), now=samples.now, limit=9) == []


class TestCreateAndClaim:
    def test_a_new_run_is_claimed_as_it_is_created(self, runs: RunStore, samples: Samples) -> None:
        change = samples.new(cap=1)

        creation = runs.create(change, start=starting(samples.now, "me"))

        assert creation.run == change.run
        run = creation.started
        assert run is not None
        assert (run.status, run.fence, run.lease_owner) == (RunStatus.RUNNING, 1, "me")
        assert runs.get(run.id) == run
        told = [event.data["status"] for event in runs.list_events(run.id)]
        assert told == ["queued", "running"]
        totals = runs.totals(now=samples.now)
        assert (totals.queued, totals.running) == (0, 1)
        assert runs.claim(starting(samples.now), now=samples.now, limit=9) == []
        runs.change(run.id, ending(samples.now))
        assert runs.totals(now=samples.now).running == 0

    def test_whoever_waits_goes_first(self, runs: RunStore, samples: Samples) -> None:
        runs.create(samples.new(priority=0))
        second = samples.new(priority=9)

        assert runs.create(second, start=starting(samples.now)) == Creation(second.run)
        assert runs.get(second.run.id) == second.run

    def test_a_retry_whose_time_has_come_goes_first(self, runs: RunStore, samples: Samples) -> None:
        due = samples.now + timedelta(seconds=1)
        runs.create(samples.new(waits=Wait.TIME, not_before=due))
        early, late = samples.new(), samples.new(created_at=due)

        assert runs.create(early, start=starting(samples.now)).started is not None
        assert runs.create(late, start=starting(samples.now)).started is None

    def test_a_cap_holds(self, runs: RunStore, samples: Samples) -> None:
        runs.create(samples.new(cap=1), start=starting(samples.now))
        second, other = samples.new(cap=1), samples.new("other", cap=1)

        assert runs.create(other, start=starting(samples.now)).started is not None
        assert runs.create(second, start=starting(samples.now)).started is None
        assert runs.get(second.run.id).status is RunStatus.QUEUED

    def test_who_would_rather_skip_is_refused(self, runs: RunStore, samples: Samples) -> None:
        skipping: dict[str, Any] = {"cap": 1, "on_limit": "skip"}
        runs.create(samples.new(**skipping), start=starting(samples.now))

        with pytest.raises(ConcurrencyReached):
            runs.create(samples.new(**skipping), start=starting(samples.now))
        assert runs.totals(now=samples.now).running == 1

    def test_a_run_that_waits_for_something_is_not_claimed(
        self, runs: RunStore, samples: Samples
    ) -> None:
        change = samples.new(waits=Wait.CAP, cap=5)

        assert runs.create(change, start=starting(samples.now)) == Creation(change.run)

    def test_a_repetition_starts_nothing(self, runs: RunStore, samples: Samples) -> None:
        claim = samples.claim()
        runs.create(samples.new(), claim=claim, start=starting(samples.now))

        again = runs.create(samples.new(), claim=claim, start=starting(samples.now))

        assert again == Creation(None, claim.answer)
        assert runs.totals(now=samples.now).running == 1

    def test_what_is_done_meanwhile_is_done_whatever_comes_of_it(
        self, runs: RunStore, samples: Samples
    ) -> None:
        claim = samples.claim()
        skipping: dict[str, Any] = {"cap": 1, "on_limit": "skip"}
        callers: list[threading.Thread] = []

        def meanwhile() -> None:
            callers.append(threading.current_thread())

        runs.create(samples.new(**skipping), claim=claim, meanwhile=meanwhile)
        runs.create(samples.new(), claim=claim, meanwhile=meanwhile)
        with pytest.raises(ConcurrencyReached):
            runs.create(samples.new(**skipping), meanwhile=meanwhile)

        assert callers == [threading.current_thread()] * 3

    def test_of_many_at_once_no_more_start_than_may(self, runs: RunStore, samples: Samples) -> None:
        changes = [samples.new(cap=3) for _ in range(32)]

        made = together(lambda number: runs.create(changes[number], start=starting(samples.now)))

        started = [each.started for each in made if isinstance(each, Creation) and each.started]
        assert len(made) == 32
        assert len(started) == 3
        totals = runs.totals(now=samples.now)
        assert (totals.queued, totals.running) == (29, 3)


class TestIdempotentCreate:
    def test_a_repetition_gets_the_first_answer(self, runs: RunStore, samples: Samples) -> None:
        claim = samples.claim()
        first = samples.new()
        runs.create(first, claim=claim)

        again = runs.create(samples.new(), claim=replace(claim, answer=samples.claim().answer))

        assert again == Creation(run=None, replayed=claim.answer)
        assert [run.id for run in runs.list(RunQuery(), limit=9).rows] == [first.run.id]
        assert runs.totals(now=samples.now).queued == 1

    def test_another_body_is_a_misuse(self, runs: RunStore, samples: Samples) -> None:
        runs.create(samples.new(), claim=samples.claim(digest="d1"))
        other = samples.new()

        with pytest.raises(IdempotencyKeyReused):
            runs.create(other, claim=samples.claim(digest="d2"))
        with pytest.raises(RunNotFound):
            runs.get(other.run.id)

    @pytest.mark.parametrize("digest", ["same", "other"])
    def test_an_expired_claim_counts_as_absent(
        self, runs: RunStore, samples: Samples, digest: str
    ) -> None:
        first = samples.claim(digest="same")
        runs.create(samples.new(), claim=first)
        later = samples.new(created_at=first.expires_at)

        again = replace(samples.claim(digest=digest), expires_at=first.expires_at)
        assert runs.create(later, claim=again).run == later.run

    def test_of_many_duplicates_at_once_one_makes_a_run(
        self, runs: RunStore, samples: Samples
    ) -> None:
        changes = [samples.new() for _ in range(32)]
        claim = samples.claim()

        made = together(lambda number: runs.create(changes[number], claim=claim))

        assert sorted(type(answer).__name__ for answer in made) == ["Creation"] * 32
        winners = [answer.run for answer in made if isinstance(answer, Creation) and answer.run]
        assert len(winners) == 1
        assert [run.id for run in runs.list(RunQuery(), limit=99).rows] == [winners[0].id]

    def test_a_refused_run_leaves_no_claim(self, runs: RunStore, samples: Samples) -> None:
        runs.create(samples.new(cap=1, on_limit="skip"))
        claim = samples.claim()

        with pytest.raises(ConcurrencyReached, match="has one run queued or running"):
            runs.create(samples.new(cap=1, on_limit="skip"), claim=claim)

        assert runs.create(samples.new("other"), claim=claim).run is not None


class TestSkip:
    def test_a_worker_at_its_cap_refuses(self, runs: RunStore, samples: Samples) -> None:
        for _ in range(2):
            runs.create(samples.new(cap=2, on_limit="skip"))
        runs.claim(starting(samples.now), now=samples.now, limit=1)  # one queued, one running

        with pytest.raises(ConcurrencyReached, match="hello"):
            runs.create(samples.new(cap=2, on_limit="skip"))
        runs.create(samples.new("other", cap=2, on_limit="skip"))
        runs.create(samples.new(cap=2, on_limit="queue"))
        runs.create(samples.new(cap=0, on_limit="skip"))

    @pytest.mark.parametrize("end", [RunStatus.FAILED, RunStatus.PENDING_APPROVAL])
    def test_a_run_that_works_no_more_does_not_count(
        self, runs: RunStore, samples: Samples, end: RunStatus
    ) -> None:
        first = samples.new(cap=1, on_limit="skip")
        runs.create(first)
        runs.claim(starting(samples.now), now=samples.now, limit=1)

        runs.change(first.run.id, ending(samples.now, end))

        runs.create(samples.new(cap=1, on_limit="skip"))

    def test_many_at_once_do_not_get_past_the_cap(self, runs: RunStore, samples: Samples) -> None:
        changes = [samples.new(cap=3, on_limit="skip") for _ in range(32)]

        made = together(lambda number: runs.create(changes[number]))

        assert sum(isinstance(answer, Creation) for answer in made) == 3
        assert sum(isinstance(answer, ConcurrencyReached) for answer in made) == 29


def test_a_store_checks_itself(runs: RunStore) -> None:
    runs.check()


def test_an_answer_outlives_the_day_of_its_run(runs: RunStore, samples: Samples) -> None:
    """The claim is settled by the run's own time, not by the machine's."""
    claim = replace(samples.claim(), expires_at=samples.now + timedelta(days=900))
    runs.create(samples.new(), claim=claim)
    samples.clock.advance(days=899)

    assert runs.create(samples.new(), claim=claim).replayed == claim.answer
