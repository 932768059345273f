"""Deleting a worker: its folder by a commit, then what was still to come of it.

The commit comes first: refused, it leaves everything as it was. A server that is
killed after it finds at its next start which runs were left waiting.
"""

from __future__ import annotations

import logging
from typing import Final

from lib.errors import Conflict
from lib.log import event
from lib.runs.lifecycle import Lifecycle
from lib.storage.ports import RunStore, ShareStore, WorkerSettingsStore
from lib.storage.records import RunQuery, RunStatus, RunSummary, WorkerSettings
from lib.workspace.worker_source import WorkerSource, Writer, delete_subject
from lib.workspace.workspace import Workspace

BATCH: Final = 200
WAITING: Final = frozenset({RunStatus.QUEUED, RunStatus.PENDING_APPROVAL})

_log = logging.getLogger(__name__)


class WorkerRemoval:
    """Deletes workers, and cancels what waits for those that were deleted."""

    def __init__(
        self,
        *,
        source: WorkerSource,
        workspace: Workspace,
        lifecycle: Lifecycle,
        runs: RunStore,
        settings: WorkerSettingsStore,
        shares: ShareStore,
    ) -> None:
        self._source = source
        self._workspace = workspace
        self._lifecycle = lifecycle
        self._runs = runs
        self._settings = settings
        self._shares = shares

    def delete(self, worker_id: str, *, writer: Writer) -> None:
        """Delete a worker; cancel its queued runs and those that wait for an approval.

        What runs now runs on, and past runs stay. A worker that is made again
        under this id begins with no settings and no public link.

        Raises:
            WorkerNotFound, CapabilityRequiresAdmin, WorkspaceConflict: nothing
                has happened.
        """
        self._source.delete(worker_id, writer=writer)
        self._settings.change(worker_id, lambda _: WorkerSettings())
        self._shares.delete(worker_id)
        for run in self._list_waiting(worker_id):
            self._cancel(run)

    def finish(self) -> int:
        """Cancel what a killed server left waiting for workers that it had deleted.

        A run that was started since, such as a replay at the old version, is
        none of them; nor is one whose worker was deleted by hand.

        Returns:
            How many runs were cancelled.
        """
        present = {name for name, _ in self._workspace.view().names("workers")}
        waiting = [run for run in self._list_waiting(None) if run.worker_id not in present]
        left = [run for run in waiting if self._was_deleted_after(run)]
        for run in left:
            self._cancel(run)
        return len(left)

    def _was_deleted_after(self, run: RunSummary) -> bool:
        newest, _ = self._workspace.versions(run.worker_id, limit=1)
        if not newest or newest[0].sha is not None:
            return False
        info = newest[0].info
        by_us = info.message.partition("\n")[0] == delete_subject(run.worker_id)
        return by_us and run.created_at < info.committed_at

    def _list_waiting(self, worker_id: str | None) -> list[RunSummary]:
        query = RunQuery(worker_id=worker_id, statuses=WAITING)
        found: list[RunSummary] = []
        page = self._runs.list(query, limit=BATCH)
        found += page.rows
        while page.next_key is not None:
            page = self._runs.list(query, limit=BATCH, after=page.next_key)
            found += page.rows
        return found

    def _cancel(self, run: RunSummary) -> None:
        try:
            self._lifecycle.cancel(run.id)
        except Conflict:  # it was claimed and has ended meanwhile
            event(_log, logging.INFO, "run_ended_before_cancel", run_id=run.id)
