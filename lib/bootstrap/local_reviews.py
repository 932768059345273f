"""What people say of runs on a local server: approvals and feedback."""

from __future__ import annotations

from lib.auth.users import Users
from lib.bootstrap.groundwork import Groundwork
from lib.bootstrap.local_runs import LocalRuns
from lib.bootstrap.local_stores import LocalStores
from lib.bootstrap.local_workspace import LocalWorkspace
from lib.runs.approvals.approvals import Approvals
from lib.runs.approvals.docket import Docket
from lib.runs.approvals.expiry import Expiry
from lib.runs.approvals.follow_ups import FollowUps
from lib.runs.approvals.review_links import ReviewLinks
from lib.runs.failure_issues import FailureIssues
from lib.runs.feedback import FeedbackBook
from lib.runs.promotion import Promotions


class LocalReviews:
    """Approvals, feedback, and the issues that come of both feedback and failures."""

    def __init__(
        self, ground: Groundwork, stores: LocalStores, space: LocalWorkspace, runs: LocalRuns
    ) -> None:
        self._ground, self._stores, self._space, self._runs = ground, stores, space, runs
        self._people = Users(stores.accounts)
        self._docket = Docket(store=stores.approvals, signals=runs.signals, bell=runs.bell)
        self._follow_ups = FollowUps(
            catalogue=runs.catalogue, content=stores.content, clock=ground.clock, ids=ground.ids
        )
        self.expiry = Expiry(
            store=stores.approvals,
            docket=self._docket,
            runs=stores.runs,
            follow_ups=self._follow_ups,
            clock=ground.clock,
        )
        self.feedback = FeedbackBook(
            runs=stores.runs,
            store=stores.feedback,
            content=stores.content,
            clock=ground.clock,
            ids=ground.ids,
        )

    def build_approvals(self) -> Approvals:
        """Return the approvals, for those who decide signed in."""
        return Approvals(
            store=self._stores.approvals,
            docket=self._docket,
            runs=self._stores.runs,
            expiry=self.expiry,
            follow_ups=self._follow_ups,
            content=self._stores.content,
            masks=self._runs.masks,
            people=self._people,
            clock=self._ground.clock,
        )

    def build_review_links(self) -> ReviewLinks:
        """Return the links by which approvals are decided."""
        return ReviewLinks(
            store=self._stores.approvals,
            docket=self._docket,
            runs=self._stores.runs,
            people=self._people,
            clock=self._ground.clock,
            ids=self._ground.ids,
        )

    def build_promotions(self) -> Promotions:
        """Return what makes issues of feedback."""
        return Promotions(
            book=self.feedback,
            store=self._stores.feedback,
            runs=self._stores.runs,
            issues=self._space.issues,
            workspace=self._space.workspace,
            masks=self._runs.masks,
            clock=self._ground.clock,
        )

    def build_failure_issues(self) -> FailureIssues:
        """Return what makes issues of runs that failed."""
        return FailureIssues(
            runs=self._stores.runs,
            reports=self._stores.failure_reports,
            issues=self._space.issues,
            workspace=self._space.workspace,
            masks=self._runs.masks,
            clock=self._ground.clock,
            bell=self._runs.failures,
        )
