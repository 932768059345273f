"""What people say of runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from lib.errors import Conflict, NotFound
from lib.storage.ports.pages import Page
from lib.storage.records import Feedback, IdempotencyClaim, StoredAnswer

MAX_FEEDBACK: Final = 1_000  # of one run, which is deleted as a whole


class FeedbackNotFound(NotFound):
    """The run has no feedback of this id."""

    code = "feedback_not_found"


class FeedbackConflict(Conflict):
    """The run cannot take this feedback beside what it has."""

    code = "feedback_conflict"


class FeedbackExists(FeedbackConflict):
    """Another row of the run has this `feedback_id`."""


class FeedbackStore(Protocol):
    """Feedback by run and `feedback_id`; it goes with its run, by RunStore.delete.

    A row names the blob of its content until then. A run that is not there has
    no feedback.
    """

    def add(
        self, feedback: Feedback, *, now: datetime, claim: IdempotencyClaim | None = None
    ) -> StoredAnswer | None:
        """Add a row to its run, and settle `claim`, as one unit.

        A row that is there already, by `id`, is left as it is, and the claim
        settled. What had expired by `now` of claims counts as absent.

        Returns:
            The answer of a live claim with the same key and digest: nothing is
            written then. None: the row is there.

        Raises:
            IdempotencyKeyReused: the key lives with another digest.
            RunNotFound: there is no such run.
            FeedbackExists: another row of the run has the same `feedback_id`.
            FeedbackConflict: the run has MAX_FEEDBACK rows.
        """
        ...

    def find(self, run_id: str, feedback_id: str) -> Feedback | None:
        """Return a row by its `feedback_id`, if the run has it."""
        ...

    def change(
        self, run_id: str, feedback_id: str, decide: Callable[[Feedback], Feedback]
    ) -> Feedback:
        """Replace a row by what `decide` makes of it, atomically; return the new one.

        `decide` is pure and quick, and keeps ids and content.

        Raises:
            FeedbackNotFound, and whatever `decide` raises (nothing is written then).
        """
        ...

    def count(self, run_id: str) -> int:
        """Return how many rows a run has, without reading them."""
        ...

    def list(self, run_id: str, *, limit: int, after: str | None = None) -> Page[Feedback]:
        """Return a page of a run's rows, newest (highest id) first, below id `after`."""
        ...
