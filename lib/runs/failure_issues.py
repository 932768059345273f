"""Issues of failures: one for each kind of failure that nobody has dealt with yet.

The end of a run writes a report with it, in the same transaction; it is worked
off here, beside the runs, so that no end waits for a commit and none is lost. A
report stands until its issue is in git, or was found to be there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable
from typing import Final

from lib.clock import Clock
from lib.errors import Unavailable
from lib.log import event
from lib.runs.issue_texts import FailureIssue
from lib.runs.masks import Masks
from lib.runs.signals import Bell
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.mask import Mask
from lib.storage.ports import FailureReportStore, RunNotFound, RunStore
from lib.storage.records import FailureReport, RunRecord
from lib.workspace.ancestry import REQUEST_TRAILER
from lib.workspace.commit_objects import FLOOM
from lib.workspace.errors import WorkspaceConflict
from lib.workspace.issues import IssueQuery, Issues
from lib.workspace.workspace import Workspace

log: Final = logging.getLogger(__name__)

BATCH: Final = 100
MAX_OPEN: Final = 20  # of one worker, whose codes may be its own: no run of bad luck fills git
BY: Final = "system"


class FailureIssues:
    """Works off reports of failures. One thread at a time.

    Args:
        bell: Rung when a run may have left a report.
    """

    def __init__(
        self,
        *,
        runs: RunStore,
        reports: FailureReportStore,
        issues: Issues,
        workspace: Workspace,
        masks: Masks,
        clock: Clock,
        bell: Bell,
    ) -> None:
        self._runs = runs
        self._reports = reports
        self._issues = issues
        self._workspace = workspace
        self._masks = masks
        self._clock = clock
        self.bell = bell

    def work_off(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Make the issues that are due; return how many were made.

        One that cannot be made stays, and keeps no other from its turn.

        Args:
            should_stop: Asked between reports.

        Raises:
            Unavailable, WorkspaceConflict: a store or the workspace takes nothing
                now; everything that is left stays.
        """
        made, after = 0, ""
        while page := self._reports.list(limit=BATCH, after=after):
            for report in page:
                if should_stop():
                    return made
                made += self._see_to(report)
            after = page[-1].run_id
        return made

    def _see_to(self, report: FailureReport) -> bool:
        try:
            was_made = self._make(report)
            self._reports.settle(report.run_id)
        except (Unavailable, WorkspaceConflict):  # which the next one would meet, too
            raise
        except Exception:  # noqa: BLE001 - logged
            event(
                log, logging.ERROR, "failure_not_reported", run_id=report.run_id,
                traceback=traceback.format_exc(),
            )  # fmt: skip
            return False
        return was_made

    def _make(self, report: FailureReport) -> bool:
        """Make a report's issue; False where none is due, or it is there."""
        try:
            run = self._runs.get(report.run_id)
        except RunNotFound:  # it went between the list and now
            return False
        if run.error is None or self._is_in_git(report):
            return False
        failure = FailureIssue(run, run.error, self._find_mask(run))
        if not self._is_due(failure):
            return False
        self._reports.begin(run.id, at=self._clock.now())
        issue, was_made = self._issues.find_or_create(
            failure.compose(),
            is_like=failure.is_like,
            author=FLOOM,
            by=BY,
            trailers={REQUEST_TRAILER: _request(run.id)},
        )
        if was_made:
            event(log, logging.INFO, "failure_issue_made", run_id=run.id, issue_id=issue.id)
        return was_made

    def _is_in_git(self, report: FailureReport) -> bool:
        """Whether a server that was killed has made the issue; it may be closed since."""
        if report.tried_since is None:
            return False
        request = _request(report.run_id)
        return self._workspace.find_request(request, since=report.tried_since).commit is not None

    def _is_due(self, failure: FailureIssue) -> bool:
        query = IssueQuery(status="open", asset_type="worker", asset_id=failure.run.worker_id)
        rows = self._issues.list(query).rows
        open_ones = [row.issue for row in rows if failure.is_of_worker(row.issue)]
        if any(map(failure.is_like, open_ones)):
            return False
        if len(open_ones) < MAX_OPEN:
            return True
        event(
            log, logging.WARNING, "failure_issue_withheld", run_id=failure.run.id,
            worker_id=failure.run.worker_id, open_issues=len(open_ones),
        )  # fmt: skip
        return False

    def _find_mask(self, run: RunRecord) -> Mask | None:
        try:
            return self._masks.of_run(run)
        except SecretUnreadable:
            return None


def _request(run_id: str) -> str:
    """Return what names the report of a failure: the value of its commit's trailer."""
    return hashlib.sha256(json.dumps(["report failure", run_id]).encode()).hexdigest()
