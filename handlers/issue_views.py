"""Issues as the API shows them, and what a title may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lib.web.models import ResponseModel, Timestamp
from lib.workspace.issues import Issue
from lib.workspace.issues.document import MAX_TITLE_CHARACTERS, is_plain_line


def plain_line(text: str) -> str:
    """Return a text that may stand in the head of an issue. Raises ValueError."""
    if not is_plain_line(text):
        raise ValueError("must be one line without control characters")
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Title = Annotated[
    str, Field(min_length=1, max_length=MAX_TITLE_CHARACTERS), AfterValidator(plain_line)
]


class IssueView(ResponseModel):
    """An issue."""

    id: str = Field(examples=["ISSUE-0001"])
    status: Literal["open", "closed"]
    title: str
    body: str
    asset_type: str | None
    asset_id: str | None
    source: str | None
    labels: list[str]
    created_by: str | None
    created_at: Timestamp | None
    updated_by: str | None
    updated_at: Timestamp | None
    comment_count: int


def issue_view(issue: Issue) -> IssueView:
    """Return an issue as the API shows it."""
    return IssueView.model_validate(issue)
