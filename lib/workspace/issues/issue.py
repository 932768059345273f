"""Issues as callers see them, and what they ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import PlainSerializer, TypeAdapter

from lib.clock import rfc3339
from lib.workspace.issues.document import Document

IssueStatus = Literal["open", "closed"]
AssetType = Literal["worker", "context", "run", "connection", "approval"]
ShownTime = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


@dataclass(frozen=True, slots=True)
class Asset:
    """What an issue is about."""

    type: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """An issue; as JSON, what the API answers.

    Attributes:
        created_at: None where somebody wrote the file by hand and left it out.
    """

    id: str
    status: str
    title: str
    body: str
    asset_type: str | None
    asset_id: str | None
    source: str | None
    labels: tuple[str, ...]
    created_by: str | None
    created_at: ShownTime | None
    updated_by: str | None
    updated_at: ShownTime | None
    comment_count: int

    @classmethod
    def of(cls, document: Document, comment_count: int) -> Issue:
        """Return the issue of a file."""
        return cls(
            id=document.id,
            status=document.status,
            title=document.title,
            body=document.body,
            asset_type=document.asset_type,
            asset_id=document.asset_id,
            source=document.source,
            labels=document.labels,
            created_by=document.created_by,
            created_at=document.created_at,
            updated_by=document.updated_by,
            updated_at=document.updated_at,
            comment_count=comment_count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIssue:
    """An issue to be made; checked by whoever makes it."""

    title: str
    body: str = ""
    labels: tuple[str, ...] = ()
    asset: Asset | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueChange:
    """What of an issue is to be another; None: it stays.

    Attributes:
        clear_asset: The issue is to be about nothing in particular.
    """

    title: str | None = None
    body: str | None = None
    status: IssueStatus | None = None
    labels: tuple[str, ...] | None = None
    asset: Asset | None = None
    clear_asset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueQuery:
    """Filters of a list; all that are given must hold.

    Attributes:
        text: Part of id, title or body, any case.
        after: Number of the issue after which to begin; 0 for the first.
        limit: Most issues; None for all.
    """

    status: str | None = None
    label: str | None = None
    asset_type: str | None = None
    asset_id: str | None = None
    text: str | None = None
    after: int = 0
    limit: int | None = None

    def matches(self, issue: Issue) -> bool:
        """Return whether an issue is wanted."""
        return (
            (self.status is None or issue.status == self.status)
            and (self.label is None or self.label in issue.labels)
            and (self.asset_type is None or issue.asset_type == self.asset_type)
            and (self.asset_id is None or issue.asset_id == self.asset_id)
            and (self.text is None or _holds(issue, self.text.lower()))
        )


def encode(issue: Issue) -> str:
    """Return the JSON object that the API answers."""
    return _ISSUE.dump_json(issue).decode()


def _holds(issue: Issue, text: str) -> bool:
    return any(text in each.lower() for each in (issue.id, issue.title, issue.body))


_ISSUE: Final = TypeAdapter(Issue)
