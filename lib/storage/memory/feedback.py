"""Feedback on runs in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from lib.storage.blob_names import feedback_item, hashes_of
from lib.storage.feedback_rules import check_room, check_same, missing
from lib.storage.memory.blob_refs import MemoryBlobReferences
from lib.storage.memory.claims import MemoryClaimStore
from lib.storage.ports import Page, RunNotFound
from lib.storage.records import Feedback, IdempotencyClaim, StoredAnswer


class MemoryFeedbackStore:
    """A FeedbackStore; the run store says which runs there are.

    Args:
        refs: Shared with the other stores whose records name blobs.
        claims: Where keys are settled.
    """

    def __init__(
        self,
        refs: MemoryBlobReferences | None = None,
        claims: MemoryClaimStore | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._refs = refs or MemoryBlobReferences()
        self._claims = claims or MemoryClaimStore(self._refs)
        self._runs: dict[str, dict[str, Feedback]] = {}

    def open(self, run_id: str) -> None:
        """Take feedback on a new run from now on."""
        with self._lock:
            self._runs[run_id] = {}

    def remove(self, run_id: str) -> None:
        """Forget a run and its feedback; the run store forgets its blobs."""
        with self._lock:
            del self._runs[run_id]

    def add(
        self, feedback: Feedback, *, now: datetime, claim: IdempotencyClaim | None = None
    ) -> StoredAnswer | None:
        """Add a row to its run, and settle `claim`, as one unit."""
        with self._lock:
            if claim is not None:
                answer = self._claims.find_answer(claim.key, claim.body_digest, now=now)
                if answer is not None:
                    return answer
            self._add(feedback)
            if claim is not None:
                self._claims.put(claim)
            return None

    def find(self, run_id: str, feedback_id: str) -> Feedback | None:
        """Return a row by its `feedback_id`, if the run has it."""
        with self._lock:
            return self._runs.get(run_id, {}).get(feedback_id)

    def change(
        self, run_id: str, feedback_id: str, decide: Callable[[Feedback], Feedback]
    ) -> Feedback:
        """Replace a row by what `decide` makes of it, atomically; return the new one."""
        with self._lock:
            feedback = self.find(run_id, feedback_id)
            if feedback is None:
                raise missing(run_id, feedback_id)
            after = self._runs[run_id][feedback_id] = decide(feedback)
            return after

    def count(self, run_id: str) -> int:
        """Return how many rows a run has."""
        with self._lock:
            return len(self._runs.get(run_id, {}))

    def list(self, run_id: str, *, limit: int, after: str | None = None) -> Page[Feedback]:
        """Return a page of a run's rows, newest first, below id `after`."""
        with self._lock:
            rows = [*self._runs.get(run_id, {}).values()]
        rows = [row for row in rows if after is None or row.id < after]
        page = sorted(rows, key=lambda row: row.id, reverse=True)[:limit]
        return Page(tuple(page), page[-1].id if len(rows) > limit else None)

    def _add(self, feedback: Feedback) -> None:
        rows = self._runs.get(feedback.run_id)
        if rows is None:
            raise RunNotFound(f"There is no run {feedback.run_id}.")
        known = rows.get(feedback.feedback_id)
        if known is not None:
            check_same(known, feedback)
            return
        check_room(feedback.run_id, len(rows) + 1)
        rows[feedback.feedback_id] = feedback
        self._refs.replace(feedback.run_id, feedback_item(feedback), hashes_of(feedback.content))
