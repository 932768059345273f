"""Feedback that becomes an issue of the workspace: once, whoever asks and how often.

The issue is a commit and the link to it a row, which cannot be one transaction.
So the row first says that somebody began, the commit carries a trailer made of
the row's names, and who finds a row that was begun and not linked looks for the
trailer before anything else. Whoever began at the same time, here or in another
process, is found inside the commit: the issue is looked for there once more.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from lib.clock import Clock
from lib.errors import NotFound
from lib.runs.feedback import FeedbackBook, NewFeedback
from lib.runs.issue_texts import FeedbackIssue
from lib.runs.masks import Masks
from lib.runs.turns import Turns
from lib.storage.feedback_rules import missing
from lib.storage.ports import FeedbackExists, FeedbackStore, RunStore
from lib.storage.records import Feedback, Rating
from lib.workspace.ancestry import REQUEST_TRAILER
from lib.workspace.issues import Issue, IssueBroken, IssueNotFound, Issues
from lib.workspace.workspace import Author, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Feedback to promote; `feedback_id` or `content` is there.

    Attributes:
        content: What is said, where the run does not know the `feedback_id`.
        title: Of the issue; None: one is made of the content.
        author: Whose commit the issue is.
        by: The principal's user id.
    """

    run_id: str
    feedback_id: str | None = None
    content: str | None = None
    rating: Rating | None = None
    title: str | None = None
    author: Author
    by: str


@dataclass(frozen=True, slots=True)
class Promoted:
    """What became of it.

    Attributes:
        created: Whether this call made the issue.
        issue: As it is now; None where somebody has deleted or damaged its file.
    """

    issue_id: str
    created: bool
    issue: Issue | None


class Promotions:
    """Makes issues of feedback. Any thread may call."""

    def __init__(
        self,
        *,
        book: FeedbackBook,
        store: FeedbackStore,
        runs: RunStore,
        issues: Issues,
        workspace: Workspace,
        masks: Masks,
        clock: Clock,
    ) -> None:
        self._book = book
        self._store = store
        self._runs = runs
        self._issues = issues
        self._workspace = workspace
        self._masks = masks
        self._clock = clock
        self._turns = Turns()

    def promote(self, wanted: Wanted) -> Promoted:
        """Return the issue of some feedback, and make it if there is none yet.

        Feedback that is not there yet is left first. Of callers at once one makes
        the issue, and the others wait for it. A failure leaves the feedback as
        free as it was.

        Raises:
            RunNotFound: there is no such run.
            FeedbackNotFound: the run does not know the name, and there is no content.
            FeedbackConflict: the run has as much feedback as it may.
            SecretUnreadable: nobody can tell what the issue must not show.
            WorkspaceConflict, WorkspaceUnavailable: no issue was made, or none
                that is acknowledged; the same call again finds out.
        """
        run = self._runs.get(wanted.run_id)
        mask = self._masks.of_run(run)
        row = self._find_or_leave(wanted)
        issue = FeedbackIssue(run, row, self._book.words(row), wanted.title, mask)
        with self._turns.of(request_of(row)):
            issue_id, created = self._promote(issue, wanted)
        return Promoted(issue_id, created, self._find_issue(issue_id))

    def _find_or_leave(self, wanted: Wanted) -> Feedback:
        run_id, name = wanted.run_id, wanted.feedback_id
        known = self._store.find(run_id, name) if name is not None else None
        if known is not None:
            return known
        if wanted.content is None:
            raise missing(run_id, name or "")
        row = self._book.compose(
            NewFeedback(
                run_id=run_id,
                content=wanted.content,
                rating=wanted.rating,
                feedback_id=name,
                by=wanted.by,
            )
        )
        try:
            self._store.add(row, now=self._clock.now())
        except FeedbackExists:  # somebody else was quicker
            return self._store.find(run_id, row.feedback_id) or row
        return row

    def _promote(self, issue: FeedbackIssue, wanted: Wanted) -> tuple[str, bool]:
        """Return the issue's id, and whether it was made."""
        row = issue.feedback
        before = self._begin(row)
        if before.issue_id is not None:
            return before.issue_id, False
        issue_id, created = self._find_lost(before), False
        if issue_id is None:
            made, created = self._issues.find_or_create(
                issue.compose(),
                is_like=issue.is_like,
                author=wanted.author,
                by=wanted.by,
                trailers={REQUEST_TRAILER: request_of(row)},
            )
            issue_id = made.id
        self._store.change(
            row.run_id, row.feedback_id, lambda each: replace(each, issue_id=issue_id)
        )
        return issue_id, created

    def _begin(self, row: Feedback) -> Feedback:
        """Record that somebody tries to make the issue; return the row as it was before."""
        now, seen = self._clock.now(), [row]

        def begin(feedback: Feedback) -> Feedback:
            seen.append(feedback)
            if feedback.issue_id is not None or feedback.promotion_began_at is not None:
                return feedback
            return replace(feedback, promotion_began_at=now)

        self._store.change(row.run_id, row.feedback_id, begin)
        return seen[-1]

    def _find_lost(self, before: Feedback) -> str | None:
        """Return the issue that somebody made who could not record it."""
        if before.promotion_began_at is None:
            return None
        since = before.promotion_began_at
        commit = self._workspace.find_request(request_of(before), since=since).commit
        try:
            return None if commit is None else self._issues.created_in(commit).id
        except NotFound:  # somebody else's commit with our trailer
            return None

    def _find_issue(self, issue_id: str) -> Issue | None:
        try:
            return self._issues.get(issue_id).issue
        except (IssueNotFound, IssueBroken):
            return None


def request_of(feedback: Feedback) -> str:
    """Return what names the promotion of feedback: the value of its commit's trailer."""
    scope = json.dumps(["promote feedback", feedback.run_id, feedback.feedback_id])
    return hashlib.sha256(scope.encode()).hexdigest()
