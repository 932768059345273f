"""The workspace's issues: listed, read, made, changed and commented on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from lib.clock import Clock
from lib.ids import Ids
from lib.workspace.commit_objects import Author
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.issues import names
from lib.workspace.issues.changes import (
    Creation,
    CreationUnless,
    comment,
    load,
    load_comments,
    update,
)
from lib.workspace.issues.comments import Comment
from lib.workspace.issues.index import IssueIndex, Row
from lib.workspace.issues.issue import Issue, IssueChange, IssueQuery, NewIssue
from lib.workspace.scan import Skipped
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Workspace

_SUBJECT: Final = re.compile(r"issues: (?:create|comment on) (ISSUE-\d+)\b")


@dataclass(frozen=True, slots=True)
class IssueList:
    """Issues in order of their ids.

    Attributes:
        next_after: What to ask for next; None at the end.
        skipped: Files that are no issues, and why.
    """

    rows: tuple[Row, ...]
    next_after: int | None
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Discussed:
    """An issue with what was said about it, oldest first."""

    issue: Issue
    comments: tuple[Comment, ...]


class Issues:
    """Any thread may call; what is acknowledged is committed."""

    def __init__(self, workspace: Workspace, *, clock: Clock, ids: Ids) -> None:
        self._workspace = workspace
        self._clock = clock
        self._ids = ids
        self._index = IssueIndex()

    def list(self, query: IssueQuery) -> IssueList:
        """Return the issues that match, at most `query.limit` after `query.after`."""
        listing = self._index.list(self._view())
        rows = [
            row for row in listing.rows if row.number > query.after and query.matches(row.issue)
        ]
        page = rows[: query.limit]
        more = len(page) < len(rows)
        return IssueList(tuple(page), page[-1].number if more else None, listing.skipped)

    def get(self, issue_id: str) -> Discussed:
        """Return one issue. Raises IssueNotFound, IssueBroken."""
        return _discussed(self._view(), issue_id)

    def create(
        self,
        new: NewIssue,
        *,
        author: Author,
        by: str,
        trailers: Mapping[str, str] | None = None,
    ) -> Issue:
        """Make an issue, by one commit.

        Args:
            new: What it says.
            author: Whose commit it is.
            by: User id, for the issue itself.
            trailers: Of the commit.
        """
        creation = Creation(new, by, self._clock.now())
        self._workspace.commit(creation.change, creation.subject, author, trailers=trailers)
        return Issue.of(creation.document, 0)

    def find_or_create(
        self,
        new: NewIssue,
        *,
        is_like: Callable[[Issue], bool],
        author: Author,
        by: str,
        trailers: Mapping[str, str] | None = None,
    ) -> tuple[Issue, bool]:
        """Return the issue that is like the new one, or make it; and whether it was made.

        Of any number of callers at once, in any number of processes, one makes
        it: what was made since the list was looked at is looked at inside the
        commit.

        Args:
            new: What it says.
            is_like: Says of an issue whether it stands for the new one. Called in
                the committer's thread, too.
            author: Whose commit it is.
            by: User id, for the issue itself.
            trailers: Of the commit.
        """
        tree = self._view()
        rows = self._index.list(tree).rows
        known = next((row.issue for row in rows if is_like(row.issue)), None)
        if known is not None:
            return known, False
        creation = Creation(new, by, self._clock.now())
        unless = CreationUnless(creation, is_like, first=names.number_after(tree))
        result = self._workspace.commit(unless.change, creation.subject, author, trailers=trailers)
        if unless.found is not None:
            return _discussed(self._workspace.tree(result.tree), unless.found).issue, False
        return Issue.of(creation.document, 0), True

    def update(self, issue_id: str, wanted: IssueChange, *, author: Author, by: str) -> Issue:
        """Change an issue, by one commit; none where it is so already.

        Raises:
            IssueNotFound, IssueBroken: nothing is written.
        """
        change = update(issue_id, wanted, by=by, at=self._clock.now())
        result = self._workspace.commit(change, f"issues: update {issue_id}", author)
        tree = self._workspace.tree(result.tree)
        _, document = load(tree, issue_id)
        count = 0
        with suppress(ObjectNotFound, WorkspaceUnavailable):  # damaged; the change is made
            count = len(load_comments(tree, issue_id))
        return Issue.of(document, count)

    def comment(
        self,
        issue_id: str,
        body: str,
        *,
        author: Author,
        by: str,
        trailers: Mapping[str, str] | None = None,
    ) -> Comment:
        """Add a comment, by one commit. Raises IssueNotFound, IssueFull."""
        said = Comment(self._ids.new("cmt"), body, by, self._clock.now())
        subject = f"issues: comment on {issue_id}"
        self._workspace.commit(comment(issue_id, said), subject, author, trailers=trailers)
        return said

    def created_in(self, commit: str) -> Issue:
        """Return the issue that a commit of `create` made, as it was there."""
        return _discussed(*self._of(commit)).issue

    def commented_in(self, commit: str) -> Comment:
        """Return the comment that a commit of `comment` added."""
        return load_comments(*self._of(commit))[-1]

    def _of(self, commit: str) -> tuple[TreeView, str]:
        found = _SUBJECT.match(self._workspace.commit_info(commit).message)
        if found is None:
            raise ObjectNotFound(f"The commit {commit} made no issue or comment.")
        return self._workspace.view(commit), found[1]

    def _view(self) -> TreeView:
        return self._workspace.view(self._workspace.refresh())


def _discussed(tree: TreeView, issue_id: str) -> Discussed:
    _, document = load(tree, issue_id)
    comments = load_comments(tree, issue_id)
    return Discussed(Issue.of(document, len(comments)), comments)
