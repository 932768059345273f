"""RunStore: deleting runs, and the blobs that nobody names any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib.storage.ports import RunNotFound, RunStore, UploadStore
from lib.storage.records import (
    IdempotencyClaim,
    RunChange,
    RunQuery,
    RunStatus,
    Stored,
    StoredAnswer,
    Upload,
)
from tests.contract.samples import Samples, ending, starting


def blob(letter: str) -> Stored:
    """Return a value that is kept in a blob."""
    return Stored(20_000, sha256=letter * 64)


def finished(runs: RunStore, samples: Samples, **fields: Any) -> str:
    """Return the id of a run that has completed."""
    change = samples.new(**fields)
    runs.create(change)
    runs.claim(starting(samples.now), now=samples.now, limit=1)
    runs.change(change.run.id, ending(samples.now))
    return change.run.id


class TestDeleteFinished:
    def test_runs_go_with_all_they_own(self, runs: RunStore, samples: Samples) -> None:
        run_id = finished(runs, samples)
        runs.change(
            run_id,
            lambda run: RunChange(
                run,
                artifacts=(samples.artifact(run.id, "a"),),
                approval=samples.approval(run),
            ),
        )
        samples.clock.advance(seconds=1)

        deleted, blobs = runs.delete_finished(before=samples.now, limit=9)

        assert deleted == [run_id]
        assert blobs == ["e" * 64]
        with pytest.raises(RunNotFound):
            runs.get(run_id)
        assert runs.list(RunQuery(), limit=9).rows == ()
        assert runs.list_events(run_id) == []
        assert runs.list_artifacts(run_id) == []
        assert runs.list_approvals(run_id) == []

    def test_those_that_finished_first_go_first(self, runs: RunStore, samples: Samples) -> None:
        made = [finished(runs, samples) for _ in range(3)]
        samples.clock.advance(seconds=1)

        assert runs.delete_finished(before=samples.now, limit=2)[0] == made[:2]
        assert runs.delete_finished(before=samples.now, limit=2)[0] == made[2:]
        assert runs.delete_finished(before=samples.now, limit=2)[0] == []

    def test_what_has_not_finished_or_not_before_stays(
        self, runs: RunStore, samples: Samples
    ) -> None:
        before = samples.now
        for _ in range(3):
            runs.create(samples.new())
        first, second = runs.claim(starting(samples.now), now=samples.now, limit=2)
        runs.change(first.id, ending(samples.now, RunStatus.PENDING_APPROVAL))
        runs.change(second.id, ending(before))

        assert runs.delete_finished(before=before, limit=9)[0] == []
        samples.clock.advance(days=900)
        assert runs.delete_finished(before=samples.now, limit=9)[0] == [second.id]

    def test_figures_outlive_their_runs(self, runs: RunStore, samples: Samples) -> None:
        finished(runs, samples)
        samples.clock.advance(minutes=1)
        before = runs.totals(now=samples.now)

        runs.delete_finished(before=samples.now, limit=9)

        assert runs.totals(now=samples.now) == before
        facts = runs.worker_facts(now=samples.now)["hello"]
        assert (facts.last_run, facts.runs_7d, facts.succeeded_7d) == (None, 1, 1)


class TestBlobs:
    def test_a_blob_is_released_with_its_last_name(self, runs: RunStore, samples: Samples) -> None:
        shared, own = blob("1"), blob("2")
        finished(runs, samples, inputs=shared)
        samples.clock.advance(seconds=1)
        between = samples.now
        finished(runs, samples, inputs=shared, outputs=own)
        samples.clock.advance(seconds=1)

        assert runs.delete_finished(before=between, limit=9)[1] == []
        assert runs.delete_finished(before=samples.now, limit=9)[1] == ["1" * 64, "2" * 64]
        assert runs.delete_finished(before=samples.now, limit=9)[1] == []

    def test_one_named_by_a_deleted_and_a_new_run_is_kept(
        self, runs: RunStore, samples: Samples
    ) -> None:
        finished(runs, samples, inputs=blob("1"))
        samples.clock.advance(seconds=1)
        runs.create(samples.new(inputs=blob("1")))

        assert len(runs.delete_finished(before=samples.now, limit=9)[0]) == 1
        assert runs.delete_finished(before=samples.now, limit=9)[1] == []

    def test_what_a_change_replaces_is_released(self, runs: RunStore, samples: Samples) -> None:
        run_id = finished(runs, samples, outputs=blob("1"))
        approval = replace(
            samples.approval(runs.get(run_id)), preview=blob("2"), proposal=blob("3")
        )
        artifact = samples.artifact(run_id, "a", "4" * 64)
        runs.change(run_id, lambda run: RunChange(run, (), (artifact,), approval))

        runs.change(
            run_id,
            lambda run: RunChange(
                replace(run, outputs=None),
                artifacts=(replace(artifact, sha256="5" * 64),),
                approval=replace(approval, proposal=blob("6")),
            ),
        )

        released = runs.delete_finished(before=samples.now, limit=0)
        assert released == ([], ["1" * 64, "3" * 64, "4" * 64])

    def test_a_released_blob_that_is_named_again_is_kept(
        self, runs: RunStore, samples: Samples
    ) -> None:
        run_id = finished(runs, samples, outputs=blob("1"))
        runs.change(run_id, lambda run: RunChange(replace(run, outputs=None)))
        runs.change(run_id, lambda run: RunChange(replace(run, outputs=blob("1"))))

        assert runs.delete_finished(before=samples.now, limit=0) == ([], [])

    def test_answers_name_blobs_until_they_expire(self, runs: RunStore, samples: Samples) -> None:
        answer = StoredAnswer(202, blob("1"))
        claim = IdempotencyClaim("k", "d", samples.now, answer)
        runs.create(samples.new(), claim=claim)
        samples.clock.advance(seconds=1)
        later = samples.now

        assert runs.delete_finished(before=later, limit=9)[1] == []
        assert runs.delete_expired_claims(now=later) == 1
        assert runs.delete_finished(before=later, limit=9)[1] == ["1" * 64]

    def test_uploads_name_blobs_until_they_go(
        self, runs: RunStore, uploads: UploadStore, samples: Samples
    ) -> None:
        finished(runs, samples, outputs=blob("1"))
        samples.clock.advance(seconds=1)
        uploads.create(
            Upload(
                id=samples.id("upl"),
                name="a.csv",
                size=3,
                sha256="1" * 64,
                media_type="text/csv",
                created_by="usr_1",
                created_at=samples.now,
                expires_at=samples.now,
            )
        )

        assert runs.delete_finished(before=samples.now, limit=9)[1] == []
        assert len(uploads.delete_expired(now=samples.now)) == 1
        assert runs.delete_finished(before=samples.now, limit=9)[1] == ["1" * 64]
