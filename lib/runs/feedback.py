"""What people say of runs. A signal only: nothing happens until it is promoted."""

from __future__ import annotations

import json
from dataclasses import dataclass

from lib.clock import Clock
from lib.ids import Ids
from lib.runs.key_use import KeyUse
from lib.storage.content import ContentStore
from lib.storage.ports import FeedbackConflict, FeedbackExists, FeedbackStore, Page, RunStore
from lib.storage.records import Feedback, Rating, StoredAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFeedback:
    """What somebody wants to say of a run.

    Attributes:
        feedback_id: The caller's name for it, unique in the run; None: whatever.
        by: The principal's user id.
    """

    run_id: str
    content: str
    rating: Rating | None = None
    feedback_id: str | None = None
    by: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """Feedback that is there now, and whether this request brought it."""

    feedback: Feedback
    is_new: bool


class FeedbackBook:
    """Leaves feedback on runs, and reads it. Any thread may call."""

    def __init__(
        self,
        *,
        runs: RunStore,
        store: FeedbackStore,
        content: ContentStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._runs = runs
        self._store = store
        self._content = content
        self._clock = clock
        self._ids = ids

    def leave(
        self, said: NewFeedback, *, key: KeyUse[Leaving] | None = None
    ) -> Leaving | StoredAnswer:
        """Add feedback to a run, of any status, and settle `key`, as one unit.

        A name that the run knows with the same content and rating is that
        feedback again: who sends it twice finds it once.

        Returns:
            What is there now, or the answer that the same request got before.

        Raises:
            RunNotFound: there is no such run.
            FeedbackConflict: the run knows the name with other words or another
                rating, or has as much feedback as it may.
            IdempotencyKeyReused: the key lives with another body.
        """
        if key is not None:
            now = self._clock.now()
            answer = self._runs.find_answer(key.scope, key.body_digest, now=now)
            if answer is not None:
                return answer
        self._runs.get(said.run_id)  # before a blob is put for nobody
        row = self.compose(said)
        try:
            return self._add(row, key, is_new=True)
        except FeedbackExists:
            known = self._store.find(said.run_id, row.feedback_id)
            if known is None:
                raise  # the run has gone since
            _check_says(known, row)
            return self._add(known, key, is_new=False)

    def compose(self, said: NewFeedback) -> Feedback:
        """Return a row that is not added yet; a long content is a blob already."""
        row_id = self._ids.new("fb")
        return Feedback(
            id=row_id,
            run_id=said.run_id,
            feedback_id=said.feedback_id or row_id,
            content=self._content.store_json(json.dumps(said.content, ensure_ascii=False)),
            rating=said.rating,
            created_by=said.by,
            created_at=self._clock.now(),
        )

    def words(self, feedback: Feedback) -> str:
        """Return what was said. Raises BlobNotFound."""
        text: str = json.loads(self._content.load_json(feedback.content))
        return text

    def list(self, run_id: str, *, limit: int, after: str | None = None) -> Page[Feedback]:
        """Return a page of a run's feedback, newest first, below id `after`."""
        return self._store.list(run_id, limit=limit, after=after)

    def count(self, run_id: str) -> int:
        """Return how much feedback a run has."""
        return self._store.count(run_id)

    def _add(
        self, row: Feedback, key: KeyUse[Leaving] | None, *, is_new: bool
    ) -> Leaving | StoredAnswer:
        leaving, now = Leaving(row, is_new), self._clock.now()
        claim = None if key is None else key.claim(leaving, now=now)
        return self._store.add(row, now=now, claim=claim) or leaving


def _check_says(known: Feedback, row: Feedback) -> None:
    if (known.content, known.rating) != (row.content, row.rating):
        raise FeedbackConflict(
            f"Run {known.run_id} has feedback {known.feedback_id} with another content or "
            "rating; choose another feedback_id."
        )
