"""Approvals in memory."""

from __future__ import annotations

from datetime import datetime

from lib.storage.approval_records import Approval, ApprovalQuery
from lib.storage.memory.runs import MemoryRunStore
from lib.storage.ports import ApprovalNotFound, ClaimKey, Judge, Page, Verdict


class MemoryApprovalStore:
    """An ApprovalStore; the run store keeps what it shows.

    Args:
        runs: Theirs.
    """

    def __init__(self, runs: MemoryRunStore) -> None:
        self._runs = runs

    def get(self, approval_id: str) -> Approval:
        """Return an approval. Raises ApprovalNotFound."""
        found = next((each for each in self._all() if each.id == approval_id), None)
        if found is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}.")
        return found

    def list_of_run(self, run_id: str) -> list[Approval]:
        """Return a run's approvals, oldest first."""
        return [each for each in self._all() if each.run_id == run_id]

    def decide(
        self, approval_id: str, judge: Judge, *, now: datetime, key: ClaimKey | None = None
    ) -> Verdict:
        """Apply what `judge` makes of an approval and its run, as one unit."""
        runs = self._runs
        with runs.lock:
            answer = runs.claims.find_answer(*key, now=now) if key is not None else None
            if answer is not None:
                return Verdict(None, answer)
            approval = self.get(approval_id)
            run = runs.get(approval.run_id)
            ruling = judge(run, approval)
            if ruling is None:
                return Verdict(None)
            runs.apply(run, ruling.change)
            if ruling.claim is not None:
                runs.claims.put(ruling.claim)
            return Verdict(ruling.change)

    def list_expired(self, *, now: datetime, limit: int) -> list[str]:
        """Return ids of pending approvals whose time was over by `now`, longest ago first."""
        over = sorted(
            (each.expires_at, each.id)
            for each in self._all()
            if each.is_pending and each.expires_at <= now
        )
        return [approval_id for _, approval_id in over[:limit]]

    def _all(self) -> list[Approval]:
        """Return all approvals, oldest first."""
        with self._runs.lock:
            found = [each for of_run in self._runs.approvals.values() for each in of_run.values()]
        return sorted(found, key=lambda approval: approval.id)

    def list(self, query: ApprovalQuery, *, limit: int, after: str | None = None) -> Page[Approval]:
        """Return a page of approvals, newest first, below id `after`."""
        rows = [
            each
            for each in reversed(self._all())
            if each.status is query.status
            and query.worker_id in (None, each.worker_id)
            and (after is None or each.id < after)
        ]
        page = tuple(rows[:limit])
        return Page(page, page[-1].id if len(rows) > limit else None)
