"""RunStore: deleting runs with all they own, and which blobs and uploads are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lib.storage.ports import (
    ApprovalStore,
    BlobReferences,
    ClaimStore,
    RunNotFound,
    RunStore,
    UploadNotFound,
    UploadStore,
)
from lib.storage.records import IdempotencyClaim, RunChange, RunQuery, RunStatus, StoredAnswer
from lib.storage.stored import Stored
from tests.contract.samples import Samples, ending, starting
from tests.contract.threads import together

ALL = [letter * 64 for letter in "0123456789abcdef"]


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


def delete_all(runs: RunStore, samples: Samples) -> list[str]:
    """Delete all that have finished by now."""
    samples.clock.advance(seconds=1)
    run_ids = runs.list_finished(before=samples.now, limit=10_000)
    runs.delete(run_ids, before=samples.now)
    return run_ids


def named(references: BlobReferences) -> str:
    """Return the letters of the blobs that somebody names."""
    unnamed = references.find_unnamed(ALL)
    return "".join(sha256[0] for sha256 in ALL if sha256 not in unnamed)


class TestDelete:
    def test_runs_go_with_all_they_own(
        self, runs: RunStore, approvals: ApprovalStore, samples: Samples
    ) -> None:
        run_id = finished(runs, samples)
        runs.change(
            run_id,
            lambda run: RunChange(
                run,
                artifacts=(samples.artifact(run.id, "a"),),
                approval=samples.approval(run),
            ),
        )

        assert delete_all(runs, samples) == [run_id]

        with pytest.raises(RunNotFound):
            runs.get(run_id)
        assert runs.list(RunQuery(), limit=9).rows == ()
        assert runs.list_events(run_id) == []
        assert runs.list_artifacts(run_id) == []
        assert approvals.list_of_run(run_id) == []

    def test_those_that_finished_first_are_listed_first(
        self, runs: RunStore, samples: Samples
    ) -> None:
        made = [finished(runs, samples) for _ in range(3)]
        samples.clock.advance(seconds=1)

        assert runs.list_finished(before=samples.now, limit=2) == made[:2]
        runs.delete(made[:2], before=samples.now)
        assert runs.list_finished(before=samples.now, limit=2) == made[2:]

    def test_what_has_not_finished_or_not_before_stays(
        self, runs: RunStore, samples: Samples
    ) -> None:
        before = samples.now
        queued = [samples.new() for _ in range(3)]
        for change in queued:
            runs.create(change)
        first, second = runs.claim(starting(samples.now), now=samples.now, limit=2)
        runs.change(first.id, ending(samples.now, RunStatus.PENDING_APPROVAL))
        runs.change(second.id, ending(before))
        run_ids = [change.run.id for change in queued]

        assert runs.list_finished(before=before, limit=9) == []
        runs.delete(run_ids, before=before)
        assert len(runs.list(RunQuery(), limit=9).rows) == 3
        samples.clock.advance(days=900)
        assert runs.list_finished(before=samples.now, limit=9) == [second.id]
        runs.delete(run_ids, before=samples.now)
        assert {run.id for run in runs.list(RunQuery(), limit=9).rows} == {*run_ids} - {second.id}

    def test_it_may_be_done_again_by_many_at_once(self, runs: RunStore, samples: Samples) -> None:
        made = [finished(runs, samples) for _ in range(9)]
        samples.clock.advance(seconds=1)

        results = together(lambda _: runs.delete([*made, "run_?"], before=samples.now))

        assert [error for error in results if error is not None] == []
        assert runs.list(RunQuery(), limit=9).rows == ()

    def test_a_run_with_more_than_a_transaction_of_rows_goes(
        self, runs: RunStore, references: BlobReferences, samples: Samples
    ) -> None:
        many, after = finished(runs, samples), finished(runs, samples, inputs=blob("1"))
        artifacts = tuple(samples.artifact(many, f"{number}") for number in range(1_000))
        runs.change(many, lambda run: RunChange(run, artifacts=artifacts))
        assert named(references) == "1e"

        assert delete_all(runs, samples) == [many, after]
        assert runs.list_artifacts(many) == []
        assert runs.list(RunQuery(), limit=9).rows == ()
        assert named(references) == ""

    def test_figures_outlive_their_runs(self, runs: RunStore, samples: Samples) -> None:
        finished(runs, samples)
        samples.clock.advance(minutes=1)
        before = runs.totals(now=samples.now)

        delete_all(runs, samples)

        assert runs.totals(now=samples.now) == before
        facts = runs.worker_facts(now=samples.now)["hello"]
        assert (facts.last_run, facts.runs_7d, facts.succeeded_7d) == (None, 1, 1)


class TestBlobs:
    def test_a_run_names_its_blobs_until_it_goes(
        self, runs: RunStore, references: BlobReferences, samples: Samples
    ) -> None:
        assert named(references) == ""
        finished(runs, samples, inputs=blob("1"), outputs=blob("2"))
        assert named(references) == "12"

        delete_all(runs, samples)
        assert named(references) == ""

    def test_two_that_name_the_same_do_not_take_it_from_each_other(
        self, runs: RunStore, references: BlobReferences, samples: Samples
    ) -> None:
        finished(runs, samples, inputs=blob("1"))
        runs.create(samples.new(inputs=blob("1")))

        delete_all(runs, samples)
        assert named(references) == "1"

    def test_what_a_change_replaces_is_named_no_more(
        self, runs: RunStore, references: BlobReferences, samples: Samples
    ) -> None:
        run_id = finished(runs, samples, outputs=blob("1"))
        approval = replace(
            samples.approval(runs.get(run_id)), preview=blob("2"), proposal=blob("3")
        )
        artifact = samples.artifact(run_id, "a", "4" * 64)
        runs.change(run_id, lambda run: RunChange(run, (), (artifact,), approval))
        assert named(references) == "1234"

        runs.change(
            run_id,
            lambda run: RunChange(
                replace(run, outputs=None),
                artifacts=(replace(artifact, sha256="5" * 64),),
                approval=replace(approval, proposal=blob("6")),
            ),
        )
        assert named(references) == "256"

    def test_answers_name_blobs_until_they_expire(
        self, runs: RunStore, claims: ClaimStore, references: BlobReferences, samples: Samples
    ) -> None:
        for key, letter in (("k", "1"), ("l", "2")):
            answer = StoredAnswer(202, blob(letter))
            runs.create(samples.new(), claim=IdempotencyClaim(key, "d", samples.now, answer))
        samples.clock.advance(seconds=1)

        assert named(references) == "12"
        assert claims.delete_expired(now=samples.now, limit=1) == 1
        assert named(references) == "2"
        assert claims.delete_expired(now=samples.now, limit=9) == 1
        assert named(references) == ""

    def test_a_refused_run_names_nothing(
        self, runs: RunStore, references: BlobReferences, samples: Samples
    ) -> None:
        change = samples.new(inputs=blob("1"), uploads=(samples.id("upl"),))
        answer = IdempotencyClaim("k", "d", samples.now, StoredAnswer(202, blob("2")))

        with pytest.raises(UploadNotFound):
            runs.create(change, claim=answer)

        assert named(references) == ""

    def test_any_number_may_be_asked_for(self, references: BlobReferences) -> None:
        assert references.find_unnamed([]) == set()
        many = [f"{number:064x}" for number in range(5_000)]
        assert references.find_unnamed(many) == set(many)

    def test_how_far_the_sweep_came_is_kept(self, references: BlobReferences) -> None:
        assert references.swept_to() == ""
        references.mark_swept("1" * 64)
        assert references.swept_to() == "1" * 64
        references.mark_swept("")
        assert references.swept_to() == ""


class TestUploads:
    def test_an_upload_names_its_bytes_from_its_announcement(
        self, uploads: UploadStore, references: BlobReferences, samples: Samples
    ) -> None:
        uploads.create(samples.upload())
        assert named(references) == "1"

        assert len(uploads.delete_expired(now=samples.now + timedelta(days=1), limit=9)) == 1
        assert named(references) == ""

    def test_the_first_run_marks_it_used(
        self, runs: RunStore, uploads: UploadStore, samples: Samples
    ) -> None:
        upload = samples.upload()
        uploads.create(upload)
        first, second = (samples.new(uploads=(upload.id,)) for _ in range(2))
        runs.create(first)
        runs.create(second)

        assert uploads.get(upload.id).used_at == first.run.created_at
        assert uploads.delete_expired(now=samples.now + timedelta(days=9), limit=9) == []
        assert runs.get(first.run.id).uploads == (upload.id,)

    def test_it_goes_with_the_last_run_that_names_it(
        self, runs: RunStore, uploads: UploadStore, references: BlobReferences, samples: Samples
    ) -> None:
        upload, other = samples.upload(), samples.upload(sha256="2" * 64)
        uploads.create(upload)
        uploads.create(other)
        finished(runs, samples, uploads=(upload.id, other.id))
        queued = samples.new(uploads=(upload.id,))
        runs.create(queued)

        delete_all(runs, samples)
        assert uploads.get(upload.id).used_at is not None
        with pytest.raises(UploadNotFound):
            uploads.get(other.id)
        assert named(references) == "1"

        runs.change(queued.run.id, ending(samples.now))
        delete_all(runs, samples)
        with pytest.raises(UploadNotFound):
            uploads.get(upload.id)
        assert named(references) == ""

    def test_a_run_is_not_created_with_one_that_has_gone(
        self, runs: RunStore, uploads: UploadStore, samples: Samples
    ) -> None:
        there, gone = samples.upload(), samples.id("upl")
        uploads.create(there)
        change = samples.new(uploads=(there.id, gone))

        with pytest.raises(UploadNotFound, match=gone):
            runs.create(change, claim=samples.claim())

        with pytest.raises(RunNotFound):
            runs.get(change.run.id)
        assert uploads.get(there.id) == there
        assert runs.find_answer("k", "d", now=samples.now) is None
        assert runs.totals(now=samples.now).queued == 0
        assert len(uploads.delete_expired(now=samples.now + timedelta(days=1), limit=9)) == 1

    def test_a_repeated_start_uses_nothing(
        self, runs: RunStore, uploads: UploadStore, samples: Samples
    ) -> None:
        upload = samples.upload()
        uploads.create(upload)
        runs.create(samples.new(), claim=samples.claim())

        assert runs.create(samples.new(uploads=(upload.id,)), claim=samples.claim()).replayed

        assert uploads.get(upload.id).used_at is None

    def test_a_run_that_starts_while_the_last_user_goes_is_whole_or_refused(
        self, runs: RunStore, uploads: UploadStore, samples: Samples
    ) -> None:
        upload = samples.upload()
        uploads.create(upload)
        old = finished(runs, samples, uploads=(upload.id,))
        samples.clock.advance(seconds=1)
        changes = [samples.new(uploads=(upload.id,)) for _ in range(8)]

        def race(number: int) -> None:
            if number == 4:
                runs.delete([old], before=samples.now)
            elif number < 8:
                runs.create(changes[number])

        results = together(race)

        assert {type(it) for it in results} <= {type(None), UploadNotFound}
        if len(runs.list(RunQuery(), limit=9).rows) == 0:
            with pytest.raises(UploadNotFound):
                uploads.get(upload.id)
        else:
            assert uploads.get(upload.id).used_at is not None
