"""Changes of issues, from a tree to edits: what a commit of each kind writes.

They are applied to whatever the tip is when their turn comes, so everything that
depends on it, the next id first of all, is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from lib.workspace.errors import ObjectNotFound
from lib.workspace.issues import comments, names
from lib.workspace.issues.comments import Comment
from lib.workspace.issues.document import BadIssueFile, Document, decode, encode
from lib.workspace.issues.errors import IssueBroken, IssueFull, IssueNotFound
from lib.workspace.issues.issue import Issue, IssueChange, NewIssue
from lib.workspace.tree_edits import Edit, Put
from lib.workspace.tree_view import TreeView


@dataclass
class Creation:
    """Makes an issue; `document` is what the last `change` made."""

    new: NewIssue
    by: str
    at: datetime
    document: Document = field(init=False)

    def change(self, tip: TreeView) -> list[Edit]:
        """Return the edits: the issue, and the counter above it."""
        new, number = self.new, names.next_number(tip)
        self.document = Document(
            id=names.issue_id(number),
            title=new.title,
            body=new.body,
            asset_type=new.asset.type if new.asset else None,
            asset_id=new.asset.id if new.asset else None,
            source=new.source,
            labels=new.labels,
            created_by=self.by,
            created_at=self.at,
            updated_by=self.by,
            updated_at=self.at,
        )
        return [
            Put(names.document_path(number), encode(self.document)),
            Put(names.COUNTER, b"%d\n" % (number + 1)),
        ]

    def subject(self) -> str:
        """Return the commit's subject."""
        return f"issues: create {self.document.id} {self.document.title}"


@dataclass
class CreationUnless:
    """Makes an issue unless one like it was made since somebody looked.

    Attributes:
        is_like: Says of an issue whether it stands for the new one.
        first: Number of the first issue that nobody has looked at.
        found: Id of the issue that the last `change` found instead.
    """

    creation: Creation
    is_like: Callable[[Issue], bool]
    first: int
    found: str | None = None

    def change(self, tip: TreeView) -> list[Edit]:
        """Return the edits; none where there is such an issue."""
        made = sorted({*names.numbers_from(tip, self.first)})
        self.found = next(filter(partial(self._is_like, tip), map(names.issue_id, made)), None)
        return self.creation.change(tip) if self.found is None else []

    def _is_like(self, tip: TreeView, issue_id: str) -> bool:
        try:
            _, document = load(tip, issue_id)
        except (IssueNotFound, IssueBroken):  # not ours, then
            return False
        return self.is_like(Issue.of(document, 0))


def update(issue_id: str, wanted: IssueChange, *, by: str, at: datetime) -> Change:
    """Return a change of an issue; it has no edits where the issue is so already."""

    def change(tip: TreeView) -> list[Edit]:
        path, document = load(tip, issue_id)
        changed = _changed(document, wanted)
        if changed == document:
            return []
        return [Put(path, encode(replace(changed, updated_by=by, updated_at=at)))]

    return change


def comment(issue_id: str, said: Comment) -> Change:
    """Return a change that adds a comment.

    Raises, when it is applied:
        IssueNotFound: there is no such issue.
        IssueFull: its comments have no room for another.
    """

    def change(tip: TreeView) -> list[Edit]:
        path = names.comments_path(_require(tip, issue_id))
        data = comments.append(tip.find_bytes(path) or b"", said)
        if len(data) > comments.MAX_FILE_BYTES:
            raise IssueFull(f"{issue_id} has no room for another comment; go on in a new issue.")
        return [Put(path, data)]

    return change


def load(tree: TreeView, issue_id: str) -> tuple[str, Document]:
    """Return the path and the file of an issue.

    Raises:
        IssueNotFound: there is no such issue.
        IssueBroken: its file cannot be read.
    """
    path = _require(tree, issue_id)
    try:
        return path, decode(tree.read(path), issue_id=issue_id)
    except BadIssueFile as ex:
        words = str(ex).rstrip(".")
        raise IssueBroken(f"{path} {words}. Correct it, then reload or push it.") from ex
    except ObjectNotFound as ex:
        raise IssueBroken(f"{path} cannot be read: {ex}") from ex


def load_comments(tree: TreeView, issue_id: str) -> tuple[Comment, ...]:
    """Return the comments of an issue, oldest first. Raises IssueNotFound."""
    return comments.decode(tree.find_bytes(names.comments_path(_require(tree, issue_id))) or b"")


def _changed(document: Document, wanted: IssueChange) -> Document:
    given: dict[str, Any] = {
        name: value
        for name in ("title", "body", "status", "labels")
        if (value := getattr(wanted, name)) is not None
    }
    if wanted.clear_asset:
        given.update(asset_type=None, asset_id=None)
    elif wanted.asset is not None:
        given.update(asset_type=wanted.asset.type, asset_id=wanted.asset.id)
    return replace(document, **given)


def _require(tree: TreeView, issue_id: str) -> str:
    number = names.number_of(issue_id)
    path = names.find_document(tree, number) if number is not None else None
    if path is None:
        raise IssueNotFound(f"There is no {issue_id}; GET /workspace/issues lists those there are.")
    return path


Change = Callable[[TreeView], list[Edit]]
