"""FeedbackStore."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.storage.ports import (
    MAX_FEEDBACK,
    BlobReferences,
    FeedbackConflict,
    FeedbackExists,
    FeedbackNotFound,
    FeedbackStore,
    IdempotencyKeyReused,
    RunNotFound,
    RunStore,
)
from lib.storage.records import Feedback, IdempotencyClaim, StoredAnswer
from lib.storage.stored import Stored
from tests.contract.samples import Samples, ending, starting
from tests.contract.threads import MANY, together

BLOB = Stored(20_000, sha256="1" * 64)
ANSWER_BLOB = Stored(20_000, sha256="2" * 64)


@pytest.fixture
def run_id(runs: RunStore, samples: Samples) -> str:
    change = samples.new()
    runs.create(change)
    return change.run.id


def delete(runs: RunStore, samples: Samples, run_id: str) -> None:
    """End a run and let it go."""
    runs.claim(starting(samples.now), now=samples.now, limit=9)
    runs.change(run_id, ending(samples.now))
    samples.clock.advance(seconds=1)
    runs.delete([run_id], before=samples.now)


class TestAdd:
    @pytest.mark.parametrize("rating", [None, "up", "down", 1, 5])
    def test_a_row_is_read_back_whole(
        self, feedback: FeedbackStore, samples: Samples, run_id: str, rating: str | int | None
    ) -> None:
        row = samples.feedback(run_id, "mine:1", rating=rating, content=BLOB)

        assert feedback.add(row, now=samples.now) is None
        assert feedback.find(run_id, "mine:1") == row
        assert feedback.list(run_id, limit=9).rows == (row,)
        assert feedback.count(run_id) == 1

    def test_an_unknown_run_takes_none(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples
    ) -> None:
        run_id = samples.id("run")

        with pytest.raises(RunNotFound, match=run_id):
            feedback.add(samples.feedback(run_id), now=samples.now, claim=samples.claim())

        assert feedback.count(run_id) == 0
        assert feedback.list(run_id, limit=9).rows == ()
        assert feedback.find(run_id, "x") is None
        assert runs.find_answer("k", "d", now=samples.now) is None

    def test_a_name_is_used_once_a_run(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        other = samples.new()
        runs.create(other)
        first = samples.feedback(run_id, "a")
        feedback.add(first, now=samples.now)

        with pytest.raises(FeedbackExists, match="feedback a already"):
            feedback.add(samples.feedback(run_id, "a"), now=samples.now, claim=samples.claim())
        feedback.add(samples.feedback(other.run.id, "a"), now=samples.now)

        assert feedback.list(run_id, limit=9).rows == (first,)
        assert feedback.count(run_id) == 1
        assert runs.find_answer("k", "d", now=samples.now) is None

    def test_the_same_row_again_is_left_as_it_is(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        row = samples.feedback(run_id, "a")
        feedback.add(row, now=samples.now)
        linked = feedback.change(run_id, "a", lambda each: replace(each, issue_id="ISSUE-0001"))
        claim = samples.claim()

        assert feedback.add(row, now=samples.now, claim=claim) is None

        assert feedback.list(run_id, limit=9).rows == (linked,)
        assert feedback.count(run_id) == 1
        assert runs.find_answer("k", "d", now=samples.now) == claim.answer

    def test_of_many_with_one_name_one_is_there(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        rows = [samples.feedback(run_id, "a") for _ in range(MANY)]

        answers = together(lambda number: feedback.add(rows[number], now=samples.now))

        assert answers.count(None) == 1
        assert sum(isinstance(each, FeedbackExists) for each in answers) == MANY - 1
        assert feedback.list(run_id, limit=9).rows == (rows[answers.index(None)],)
        assert feedback.count(run_id) == 1

    def test_a_run_takes_only_so_much(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        rows = [samples.feedback(run_id) for _ in range(MAX_FEEDBACK)]
        together(
            lambda number: [feedback.add(row, now=samples.now) for row in rows[number::16]], 16
        )

        with pytest.raises(FeedbackConflict, match="1,000"):
            feedback.add(samples.feedback(run_id), now=samples.now, claim=samples.claim())

        assert feedback.count(run_id) == MAX_FEEDBACK
        assert runs.find_answer("k", "d", now=samples.now) is None
        feedback.add(rows[0], now=samples.now)  # again
        delete(runs, samples, run_id)
        assert feedback.list(run_id, limit=9).rows == ()

    def test_a_runs_other_changes_keep_the_count(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        feedback.add(samples.feedback(run_id), now=samples.now)
        version = runs.version()
        feedback.add(samples.feedback(run_id), now=samples.now)
        assert runs.version() == version  # no list of runs shows it

        runs.claim(starting(samples.now), now=samples.now, limit=9)
        runs.change(run_id, ending(samples.now))

        assert feedback.count(run_id) == 2


class TestClaims:
    def test_a_repetition_gets_the_first_answer_and_adds_nothing(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        claim = samples.claim()
        first = samples.feedback(run_id)
        assert feedback.add(first, now=samples.now, claim=claim) is None

        again = feedback.add(samples.feedback(run_id), now=samples.now, claim=samples.claim())

        assert again == claim.answer
        assert feedback.list(run_id, limit=9).rows == (first,)

    def test_another_body_is_a_misuse(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        feedback.add(samples.feedback(run_id), now=samples.now, claim=samples.claim(digest="d1"))

        with pytest.raises(IdempotencyKeyReused):
            feedback.add(
                samples.feedback(run_id), now=samples.now, claim=samples.claim(digest="d2")
            )
        assert feedback.count(run_id) == 1

    def test_an_expired_claim_counts_as_absent(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        claim = samples.claim()
        feedback.add(samples.feedback(run_id), now=samples.now, claim=claim)
        samples.clock.advance(days=1)

        assert feedback.add(samples.feedback(run_id), now=samples.now, claim=claim) is None
        assert feedback.count(run_id) == 2

    def test_of_many_duplicates_at_once_one_adds(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        rows = [samples.feedback(run_id) for _ in range(MANY)]
        claim = samples.claim()

        answers = together(lambda number: feedback.add(rows[number], now=samples.now, claim=claim))

        assert answers.count(None) == 1
        assert answers.count(claim.answer) == MANY - 1
        assert feedback.list(run_id, limit=9).rows == (rows[answers.index(None)],)


class TestChange:
    def test_a_row_becomes_what_was_decided(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        row = samples.feedback(run_id, "a", rating=3)
        feedback.add(row, now=samples.now)

        begun = feedback.change(
            run_id, "a", lambda each: replace(each, promotion_began_at=samples.now)
        )

        assert begun == replace(row, promotion_began_at=samples.now)
        assert feedback.find(run_id, "a") == begun

    def test_what_is_not_there_is_named(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        for run, name in ((run_id, "a"), (samples.id("run"), "a")):
            with pytest.raises(FeedbackNotFound, match=f"{run} has no feedback a"):
                feedback.change(run, name, lambda each: each)

    def test_a_refusal_changes_nothing(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        row = samples.feedback(run_id, "a")
        feedback.add(row, now=samples.now)

        def refuse(_: Feedback) -> Feedback:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            feedback.change(run_id, "a", refuse)
        assert feedback.find(run_id, "a") == row

    def test_changes_at_once_follow_one_another(
        self, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        feedback.add(samples.feedback(run_id, "a", rating=0), now=samples.now)

        def one_more(each: Feedback) -> Feedback:
            assert isinstance(each.rating, int)
            return replace(each, rating=each.rating + 1)

        together(lambda _: feedback.change(run_id, "a", one_more))

        found = feedback.find(run_id, "a")
        assert found is not None
        assert found.rating == MANY


class TestList:
    def test_pages_go_from_the_newest_to_the_oldest(
        self, runs: RunStore, feedback: FeedbackStore, samples: Samples, run_id: str
    ) -> None:
        other = samples.new()
        runs.create(other)
        rows = [samples.feedback(run_id, f"n{number}") for number in range(5)]
        for row in (*rows, samples.feedback(other.run.id)):
            feedback.add(row, now=samples.now)

        first = feedback.list(run_id, limit=2)
        second = feedback.list(run_id, limit=2, after=first.next_key)
        last = feedback.list(run_id, limit=2, after=second.next_key)

        assert (*first.rows, *second.rows, *last.rows) == tuple(reversed(rows))
        assert last.next_key is None
        assert feedback.list(run_id, limit=5).next_key is None


class TestEnd:
    def test_it_goes_with_its_run_and_so_do_its_blobs(
        self,
        runs: RunStore,
        feedback: FeedbackStore,
        references: BlobReferences,
        samples: Samples,
        run_id: str,
    ) -> None:
        claim = IdempotencyClaim("k", "d", samples.now, StoredAnswer(201, ANSWER_BLOB))
        feedback.add(samples.feedback(run_id, content=BLOB), now=samples.now, claim=claim)
        hashes = ["1" * 64, "2" * 64]
        assert references.find_unnamed(hashes) == set()

        delete(runs, samples, run_id)

        assert references.find_unnamed(hashes) == {"1" * 64}
        assert feedback.list(run_id, limit=9).rows == ()
        assert feedback.count(run_id) == 0
        with pytest.raises(RunNotFound):
            feedback.add(samples.feedback(run_id), now=samples.now)

    def test_refused_feedback_names_nothing(
        self,
        feedback: FeedbackStore,
        references: BlobReferences,
        samples: Samples,
        run_id: str,
    ) -> None:
        feedback.add(samples.feedback(run_id, "a"), now=samples.now)
        claim = IdempotencyClaim("k", "d", samples.now, StoredAnswer(201, ANSWER_BLOB))

        with pytest.raises(FeedbackExists):
            feedback.add(samples.feedback(run_id, "a", content=BLOB), now=samples.now, claim=claim)

        assert references.find_unnamed(["1" * 64, "2" * 64]) == {"1" * 64, "2" * 64}
