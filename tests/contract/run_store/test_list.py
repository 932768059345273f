"""RunStore: pages of runs."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.ids import lowest_id_at
from lib.storage.documents import encode_summary
from lib.storage.ports import MAX_SCANNED_ROWS, RunStore
from lib.storage.records import RunError, RunQuery, RunRecord, RunStatus
from tests.contract.samples import START, Samples, ending, starting
from tests.contract.stores import open_stores

S = RunStatus
WORKERS = ("hello", "other")
STATUSES = (S.QUEUED, S.RUNNING, S.COMPLETED, S.FAILED)
TRIGGERS = ("manual", "schedule")


def all_ids(runs: RunStore, query: RunQuery, *, limit: int = 50) -> list[str]:
    """Return the ids of every page."""
    found: list[str] = []
    after = None
    while True:
        page = runs.list(query, limit=limit, after=after)
        assert len(page.rows) <= limit
        found += [run.id for run in page.rows]
        if page.next_key is None:
            return found
        assert after is None or page.next_key < after
        after = page.next_key


def fill(runs: RunStore, samples: Samples, count: int) -> list[RunRecord]:
    """Create runs of every worker, status and trigger; return them, newest first."""
    made = []
    for number in range(count):
        worker_id, trigger = WORKERS[number % 2], TRIGGERS[number // 2 % 2]
        status = STATUSES[number // 4 % 4]
        error = RunError("x", f"Küche {number}") if status is S.FAILED else None
        change = samples.new(worker_id, trigger=trigger, status=status, error=error)
        runs.create(change)
        made.append(change.run)
    return made[::-1]


class TestPages:
    @pytest.mark.parametrize(
        "query", [RunQuery(), RunQuery(text="küche"), RunQuery(trigger="manual")]
    )
    def test_texts_are_those_of_the_runs_that_are_listed(
        self, runs: RunStore, samples: Samples, query: RunQuery
    ) -> None:
        fill(runs, samples, 24)
        after = None
        while True:
            page = runs.list(query, limit=3, after=after)
            texts = runs.list_json(query, limit=3, after=after)
            assert texts.rows == tuple(encode_summary(run) for run in page.rows)
            assert texts.next_key == page.next_key
            after = page.next_key
            if after is None:
                break

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"worker_id": "hello"},
            {"worker_id": "nobody"},
            {"statuses": (S.FAILED,)},
            {
                "statuses": (
                    S.FAILED,
                    S.QUEUED,
                    S.RUNNING,
                )
            },
            {"statuses": tuple(S)},
            {"worker_id": "other", "statuses": (S.COMPLETED,)},
            {
                "worker_id": "other",
                "statuses": (
                    S.COMPLETED,
                    S.FAILED,
                ),
            },
            {"trigger": "schedule"},
            {"trigger": "schedule", "worker_id": "hello"},
            {
                "trigger": "schedule",
                "statuses": (
                    S.QUEUED,
                    S.FAILED,
                ),
            },
            {"trigger": "schedule", "text": "KÜCHE"},
            {"text": "küche 3"},
            {"text": "HELL"},
            {"text": "zzz"},
            {"text": "ell", "worker_id": "other"},
            {"since": START + timedelta(milliseconds=20)},
            {"until": START + timedelta(milliseconds=20)},
            {
                "since": START + timedelta(milliseconds=10),
                "until": START + timedelta(milliseconds=30),
                "statuses": (
                    S.QUEUED,
                    S.COMPLETED,
                ),
                "worker_id": "hello",
            },
        ],
        ids=str,
    )
    @pytest.mark.parametrize("limit", [1, 7, 100])
    def test_pages_hold_every_wanted_run_once_newest_first(
        self, runs: RunStore, samples: Samples, fields: dict[str, Any], limit: int
    ) -> None:
        made = fill(runs, samples, 40)
        query = RunQuery(**{**fields, "statuses": frozenset(fields.get("statuses", ()))})

        wanted = [run.id for run in made if _wants(query, run)]

        assert all_ids(runs, query, limit=limit) == wanted

    def test_a_row_is_the_summary_of_its_run(self, runs: RunStore, samples: Samples) -> None:
        [run] = fill(runs, samples, 1)
        runs.claim(starting(samples.now), now=samples.now, limit=1)
        after = runs.change(run.id, ending(samples.now, S.FAILED))

        [row] = runs.list(RunQuery(), limit=5).rows

        assert type(row).__name__ == "RunSummary"
        names = row.__dataclass_fields__
        assert {name: getattr(row, name) for name in names} == {
            name: getattr(after, name) for name in names
        }

    def test_a_last_page_that_is_full_has_no_next_key(
        self, runs: RunStore, samples: Samples
    ) -> None:
        fill(runs, samples, 4)

        assert runs.list(RunQuery(), limit=4).next_key is None
        assert runs.list(RunQuery(text="e"), limit=4).next_key is None
        assert runs.list(RunQuery(), limit=3).next_key is not None

    def test_a_run_that_moved_is_found_under_its_new_status_only(
        self, runs: RunStore, samples: Samples
    ) -> None:
        runs.create(samples.new())
        [run] = runs.claim(starting(samples.now), now=samples.now, limit=1)

        for status, expected in ((S.QUEUED, []), (S.RUNNING, [run.id])):
            assert all_ids(runs, RunQuery(statuses=frozenset({status}))) == expected
            query = RunQuery(statuses=frozenset({status}), worker_id="hello")
            assert all_ids(runs, query) == expected

    def test_a_worker_shows_its_newest_runs(self, runs: RunStore, samples: Samples) -> None:
        made = [run.id for run in fill(runs, samples, 20) if run.worker_id == "hello"]

        assert [run.id for run in runs.list_worker_runs("hello", limit=3)] == made[:3]
        assert runs.list_worker_runs("nobody", limit=3) == []

    def test_a_search_looks_at_a_bounded_number_of_rows(
        self, runs: RunStore, samples: Samples
    ) -> None:
        oldest = samples.new("needle")
        runs.create(oldest)
        for _ in range(MAX_SCANNED_ROWS):
            runs.create(samples.new())

        page = runs.list(RunQuery(text="needle"), limit=5)

        assert page.rows == ()
        assert page.next_key is not None
        rest = runs.list(RunQuery(text="needle"), limit=5, after=page.next_key)
        assert [run.id for run in rest.rows] == [oldest.run.id]
        assert rest.next_key is None
        mixed = RunQuery(worker_id="hello", trigger="schedule")
        assert runs.list(mixed, limit=5).rows == ()
        assert runs.list(mixed, limit=5).next_key is None  # exactly all of the worker's rows


@settings(max_examples=8, deadline=None)
@given(
    limit=st.integers(1, 9),
    count=st.integers(0, 30),
    statuses=st.frozensets(st.sampled_from(STATUSES)),
    worker_id=st.none() | st.sampled_from(WORKERS),
)
def test_each_run_is_paged_once_while_others_arrive(
    backend: str,
    limit: int,
    count: int,
    statuses: frozenset[RunStatus],
    worker_id: str | None,
) -> None:
    samples = Samples()
    query = RunQuery(statuses=statuses, worker_id=worker_id)
    with open_stores(backend, samples.clock) as stores:
        wanted = [run.id for run in fill(stores.runs, samples, count) if _wants(query, run)]
        begun, stop = threading.Event(), threading.Event()

        def arrive() -> None:
            for _ in range(100):
                fill(stores.runs, samples, 1)
                begun.set()
                if stop.is_set():
                    return

        newcomers = threading.Thread(target=arrive)
        newcomers.start()
        try:
            assert begun.wait(30)
            found = all_ids(
                stores.runs, replace(query, until=START + timedelta(days=1)), limit=limit
            )
        finally:
            stop.set()
            newcomers.join()

    assert len(found) == len(set(found))
    assert found == sorted(found, reverse=True)
    assert [run_id for run_id in found if run_id in {*wanted}] == wanted


def _wants(query: RunQuery, run: RunRecord) -> bool:
    text = (query.text or "").lower()
    return (
        query.worker_id in (None, run.worker_id)
        and (not query.statuses or run.status in query.statuses)
        and query.trigger in (None, run.trigger.type)
        and (query.since is None or run.created_at >= query.since)
        and (query.until is None or run.created_at < query.until)
        and (text in run.worker_id or (run.error is not None and text in run.error.message.lower()))
    )


def test_an_id_bounds_its_millisecond(samples: Samples) -> None:
    run = samples.run()

    assert lowest_id_at("run", run.created_at) <= run.id
    assert run.id < lowest_id_at("run", run.created_at + timedelta(milliseconds=1))


class TestVersion:
    def test_it_grows_with_what_lists_show_and_stands_otherwise(
        self, runs: RunStore, samples: Samples
    ) -> None:
        if runs.version() is None:
            pytest.skip("this store cannot tell")
        seen = [runs.version()]

        def claim() -> None:
            runs.claim(starting(samples.now), now=samples.now, limit=1)
            seen.append(runs.version())

        claim()
        assert seen[-1] == seen[0]  # there was nothing to claim
        change = samples.new()
        runs.create(change)
        seen.append(runs.version())
        claim()
        runs.change(change.run.id, ending(samples.now))
        seen.append(runs.version())
        assert len(set(seen)) == len(seen) - 1
        assert seen == sorted(seen, key=lambda version: version or 0)
        claim()
        assert seen[-1] == seen[-2]
