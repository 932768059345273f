"""Approvals in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.approval_records import Approval, ApprovalQuery
from lib.storage.documents import APPROVALS
from lib.storage.ports import ClaimKey, Judge, Page, Verdict
from lib.storage.sqlite import approval_rows, changes, claims, run_rows
from lib.storage.sqlite.runs import SqliteRunStore

LIST_OF_RUN = """
SELECT document FROM approvals INDEXED BY approvals_by_run WHERE run_id = ? ORDER BY id
"""
BY_STATUS = """
SELECT id, document FROM approvals INDEXED BY approvals_by_status
WHERE status = ? AND id < ? ORDER BY id DESC LIMIT ?
"""
BY_WORKER = """
SELECT id, document FROM approvals INDEXED BY approvals_by_worker
WHERE worker_id = ? AND status = ? AND id < ? ORDER BY id DESC LIMIT ?
"""
LIST_EXPIRED = """
SELECT id FROM approvals INDEXED BY approvals_due
WHERE status = 'pending' AND expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_ABOVE_ALL_IDS = "~"


class SqliteApprovalStore:
    """An ApprovalStore.

    Args:
        runs: Theirs; it counts the writes that lists of runs must show.
    """

    def __init__(self, runs: SqliteRunStore) -> None:
        self._runs = runs
        self._database = runs.database

    def get(self, approval_id: str) -> Approval:
        """Return an approval. Raises ApprovalNotFound."""
        with self._database.reading() as connection:
            return approval_rows.load(connection, approval_id)

    def list_of_run(self, run_id: str) -> list[Approval]:
        """Return a run's approvals, oldest first."""
        return [APPROVALS.decode(row[0]) for row in self._database.read(LIST_OF_RUN, (run_id,))]

    def decide(
        self, approval_id: str, judge: Judge, *, now: datetime, key: ClaimKey | None = None
    ) -> Verdict:
        """Apply what `judge` makes of an approval and its run, as one unit."""

        def operation(connection: sqlite3.Connection) -> Verdict:
            if key is not None:
                answer = claims.find_answer(connection, *key, now=now)
                if answer is not None:
                    return Verdict(None, answer)
            approval = approval_rows.load(connection, approval_id)
            run = run_rows.load(connection, approval.run_id)
            ruling = judge(run, approval)
            if ruling is None:
                return Verdict(None)
            changes.apply(connection, run, ruling.change)
            if ruling.claim is not None:
                claims.put(connection, ruling.claim)
            return Verdict(ruling.change)

        return self._runs.write(operation, changed=lambda verdict: verdict.change is not None)

    def list_expired(self, *, now: datetime, limit: int) -> list[str]:
        """Return ids of pending approvals whose time was over by `now`, longest ago first."""
        rows = self._database.read(LIST_EXPIRED, (to_milliseconds(now), limit))
        return [row[0] for row in rows]

    def list(self, query: ApprovalQuery, *, limit: int, after: str | None = None) -> Page[Approval]:
        """Return a page of approvals, newest first, below id `after`."""
        values = (query.status.value, after or _ABOVE_ALL_IDS, limit + 1)
        rows = (
            self._database.read(BY_STATUS, values)
            if query.worker_id is None
            else self._database.read(BY_WORKER, (query.worker_id, *values))
        )
        page = rows[:limit]
        found = tuple(APPROVALS.decode(document) for _, document in page)
        return Page(found, page[-1][0] if len(rows) > limit else None)
