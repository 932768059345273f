"""What a run takes as feedback: the rules that every FeedbackStore follows."""

from __future__ import annotations

from lib.storage.ports import MAX_FEEDBACK, FeedbackConflict, FeedbackExists, FeedbackNotFound
from lib.storage.records import Feedback


def check_same(known: Feedback, feedback: Feedback) -> None:
    """Check that a row with the `feedback_id` of another is that row. Raises FeedbackExists."""
    if known.id != feedback.id:
        raise FeedbackExists(
            f"Run {known.run_id} has feedback {known.feedback_id} already; choose another "
            "feedback_id."
        )


def check_room(run_id: str, count: int) -> None:
    """Check that a run may have `count` rows. Raises FeedbackConflict."""
    if count > MAX_FEEDBACK:
        raise FeedbackConflict(
            f"Run {run_id} has {MAX_FEEDBACK:,} pieces of feedback and takes no more; say it "
            "of a newer run, or in an issue."
        )


def missing(run_id: str, feedback_id: str) -> FeedbackNotFound:
    """Return the error that says what is not there."""
    return FeedbackNotFound(
        f"Run {run_id} has no feedback {feedback_id}; GET /runs/{run_id}/feedback lists it."
    )
