"""Deleting a worker: its folder by a commit, then what was still to come of it.

That it begins is on record before the commit, and that it is finished after all
else: a server that is killed in between finds at its next start what to finish, and
nothing else is cancelled. A commit that is refused leaves everything as it was.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Final

from lib.clock import Clock
from lib.errors import Conflict, Forbidden, NotFound
from lib.log import event
from lib.runs.lifecycle import Lifecycle
from lib.storage.ports import RunStore, ShareStore, WorkerSettingsStore
from lib.storage.records import RunQuery, RunStatus, RunSummary, WorkerSettings
from lib.workspace.worker_source import WorkerSource, Writer
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
        clock: Clock,
    ) -> None:
        self._source = source
        self._workspace = workspace
        self._lifecycle = lifecycle
        self._runs = runs
        self._settings = settings
        self._shares = shares
        self._clock = clock

    def delete(self, worker_id: str, *, writer: Writer) -> None:
        """Delete a worker; cancel its queued runs and those that wait for an approval.

        What runs now runs on, with what comes of it: an approval that it asks for
        waits, and it is tried again as its worker says. Past runs stay. A worker that is
        made again under this id begins with no settings and no public link.

        Raises:
            WorkerNotFound, CapabilityRequiresAdmin, WorkspaceConflict: nothing
                has happened.
        """
        began_at = self._clock.now()
        self._source.require(worker_id)
        self._settings.change(
            worker_id,
            lambda now: replace(now, removal_began_at=now.removal_began_at or began_at),
        )
        try:
            self._source.delete(worker_id, writer=writer)
        except (Conflict, Forbidden, NotFound):
            self._forget(worker_id, began_at)
            raise
        self._finish(worker_id)

    def finish(self) -> int:
        """Finish what a killed server had begun; before anything else is done for workers.

        Returns:
            How many runs were cancelled.
        """
        present = {name for name, _ in self._workspace.view().names("workers")}
        cancelled = 0
        for worker_id, settings in self._settings.get_all().items():
            if settings.removal_began_at is None:
                continue
            if worker_id in present:  # nothing was deleted
                self._forget(worker_id, settings.removal_began_at)
            else:
                cancelled += self._finish(worker_id)
        return cancelled

    def _finish(self, worker_id: str) -> int:
        """Do what follows the commit; return how many runs were cancelled."""
        self._shares.delete(worker_id)
        waiting = self._list_waiting(worker_id)
        for run in waiting:
            self._cancel(run)
        self._settings.change(worker_id, lambda _: WorkerSettings())
        return len(waiting)

    def _forget(self, worker_id: str, began_at: datetime) -> None:
        """Take back that a removal began; not that of another, which may be under way."""

        def decide(now: WorkerSettings) -> WorkerSettings:
            return replace(now, removal_began_at=None) if now.removal_began_at == began_at else now

        self._settings.change(worker_id, decide)

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
