"""The workspace's issues: files in git, each change one commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from handlers.authors import author_of
from handlers.idempotency import once_in_git
from handlers.issue_views import IssueView, Title, issue_view, plain_line
from handlers.warnings import text_warnings
from lib.bootstrap import Services, lambda_handler
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import MAX_CURSOR_CHARS, cursor_of, decode_cursor
from lib.web.route import Route
from lib.web.threads import blocking
from lib.workspace.issues import Asset, Comment, Issue, IssueChange, IssueQuery, NewIssue
from lib.workspace.issues.document import (
    MAX_LABEL_CHARACTERS,
    MAX_LABELS,
)
from lib.workspace.issues.issue import AssetType, IssueStatus

TAG: Final = "Issues"
MAX_BODY_BYTES: Final = 64 * 1024
MAX_COMMENT_CHARACTERS: Final = 20_000
WRITE_ERRORS: Final = [
    "workspace_conflict",
    "idempotency_key_reused",
    "idempotency_key_in_use",
]
ASSET: Final = "asset_type and asset_id come together"


def _short(text: str) -> str:
    if len(text.encode()) > MAX_BODY_BYTES:
        raise ValueError(f"must have at most {MAX_BODY_BYTES // 1024} KiB")
    return text


Body = Annotated[str, Field(max_length=MAX_BODY_BYTES), AfterValidator(_short)]
Label = Annotated[
    str, Field(min_length=1, max_length=MAX_LABEL_CHARACTERS), AfterValidator(plain_line)
]
Labels = Annotated[list[Label], Field(max_length=MAX_LABELS)]
AssetId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(plain_line)]


class IssuesQuery(RequestModel):
    """Filters; all that are given must hold, blank ones count as none."""

    status: Literal["open", "closed", ""] = ""
    label: str = Field("", max_length=MAX_LABEL_CHARACTERS)
    asset_type: AssetType | Literal[""] = ""
    asset_id: str = Field("", max_length=128)
    q: str = Field("", max_length=200, description="Part of id, title or body, any case.")
    limit: int | None = Field(None, ge=1, le=200, description="Issues on a page; else all.")
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CURSOR_CHARS,
        description="Where the page starts, as `x-next-cursor` gave it.",
    )


class CommentView(ResponseModel):
    """A comment."""

    id: str
    body: str
    created_by: str
    created_at: Timestamp


class IssueWithComments(IssueView):
    """An issue and what was said about it."""

    comments: list[CommentView] = Field(description="Oldest first.")


class SkippedFile(ResponseModel):
    """A file among the issues that is none."""

    path: str
    reason: str


class IssueListView(ResponseModel):
    """Issues by id."""

    issues: list[IssueView]
    skipped: list[SkippedFile] = Field(description="Files that could not be read, and why.")


class CreateIssue(RequestModel):
    """An issue to open."""

    title: Title = Field(examples=["Totals are off by one cent"])
    body: Body = ""
    labels: Labels = Field(default=[])
    asset_type: AssetType | None = None
    asset_id: AssetId | None = None
    source: AssetId | None = Field(None, description="What it comes from.", examples=["audit"])

    @model_validator(mode="after")
    def _check_asset(self) -> CreateIssue:
        if (self.asset_type is None) != (self.asset_id is None):
            raise ValueError(ASSET)
        return self


class ChangeIssue(RequestModel):
    """What of an issue is to be another."""

    title: Title | None = None
    body: Body | None = None
    status: IssueStatus | None = None
    labels: Labels | None = None
    asset_type: AssetType | None = None
    asset_id: AssetId | None = None
    clear_asset: bool = Field(False, description="The issue is about nothing in particular.")

    @model_validator(mode="after")
    def _check_asset(self) -> ChangeIssue:
        if (self.asset_type is None) != (self.asset_id is None):
            raise ValueError(ASSET)
        if self.clear_asset and self.asset_type is not None:
            raise ValueError("clear_asset and an asset contradict each other")
        return self


class NewComment(RequestModel):
    """Something to say."""

    body: str = Field(min_length=1, max_length=MAX_COMMENT_CHARACTERS)


class WorkspaceIssues:
    """The list of issues, and one of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._issues = services.issues

    @operation(
        "listIssues",
        access=Access.MEMBER,
        summary="List issues",
        query=IssuesQuery,
        responses={200: IssueListView},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[IssuesQuery, None]) -> Reply:
        """By id. All of them, unless a `limit` asks for pages.

        A file that was edited by hand and cannot be read is named in `skipped` and
        hides no other.
        """
        query = call.query
        after = decode_cursor(query.cursor, (int,))[0] if query.cursor else 0
        wanted = IssueQuery(
            status=query.status or None,
            label=query.label or None,
            asset_type=query.asset_type or None,
            asset_id=query.asset_id or None,
            text=query.q or None,
            after=after,
            limit=query.limit,
        )
        return await blocking(self._list, wanted)

    def _list(self, wanted: IssueQuery) -> Reply:
        """Put the answer together of what was rendered when each issue was read."""
        found = self._issues.list(wanted)
        skipped = [SkippedFile.model_validate(each).model_dump_json() for each in found.skipped]
        rows = ",".join([row.json for row in found.rows])
        body = f'{{"issues":[{rows}],"skipped":[{",".join(skipped)}]}}'.encode()
        return Reply(body, next_cursor=cursor_of(found.next_after))

    @operation(
        "createIssue",
        access=Access.MEMBER,
        summary="Open an issue",
        body=CreateIssue,
        responses={201: IssueView},
        headers=["Idempotency-Key"],
        errors=["issue_numbers_used_up", "validation_failed", *WRITE_ERRORS],
    )
    async def on_post(self, call: Call[None, CreateIssue]) -> Reply:
        """One commit; the id is one that no issue ever had."""
        return await blocking(self._create, call)

    @operation(
        "getIssue",
        access=Access.MEMBER,
        summary="One issue with its comments",
        responses={200: IssueWithComments},
        errors=["issue_not_found", "issue_broken"],
    )
    async def on_get_item(self, _call: Call[None, None], issue_id: str) -> IssueWithComments:
        """Comments are in the order in which they were made."""
        found = await blocking(self._issues.get, issue_id)
        comments = [_comment_view(each) for each in found.comments]
        return IssueWithComments(**_fields(found.issue), comments=comments)

    @operation(
        "updateIssue",
        access=Access.MEMBER,
        summary="Change or close an issue",
        body=ChangeIssue,
        responses={200: IssueView},
        errors=["issue_not_found", "issue_broken", "validation_failed", "workspace_conflict"],
    )
    async def on_patch_item(self, call: Call[None, ChangeIssue], issue_id: str) -> Reply:
        """What is not sent stays. Where nothing changes there is no commit."""
        return await blocking(self._update, call, issue_id)

    def _create(self, call: Call[None, CreateIssue]) -> Reply:
        new = _new_issue(call.body)

        def effect(trailers: Mapping[str, str]) -> Reply:
            return _made(self._issues.create(new, trailers=trailers, **_who(call)))

        def repeat(commit: str) -> Reply:
            return _made(self._issues.created_in(commit))

        return once_in_git(call, (), self._services, effect=effect, repeat=repeat)

    def _update(self, call: Call[None, ChangeIssue], issue_id: str) -> Reply:
        change = call.body
        wanted = IssueChange(
            title=change.title,
            body=change.body,
            status=change.status,
            labels=None if change.labels is None else tuple(dict.fromkeys(change.labels)),
            asset=_asset(change.asset_type, change.asset_id),
            clear_asset=change.clear_asset,
        )
        changed = issue_view(self._issues.update(issue_id, wanted, **_who(call)))
        texts = (change.title, change.body, change.asset_id, *(change.labels or ()))
        return Reply(changed, 200, text_warnings(*texts))


class IssueComments:
    """What is said about an issue."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._issues = services.issues

    @operation(
        "createComment",
        access=Access.MEMBER,
        summary="Comment on an issue",
        body=NewComment,
        responses={201: CommentView},
        headers=["Idempotency-Key"],
        errors=["issue_not_found", "issue_full", "validation_failed", *WRITE_ERRORS],
    )
    async def on_post(self, call: Call[None, NewComment], issue_id: str) -> Reply:
        """One commit. Comments are never changed."""
        return await blocking(self._create, call, issue_id)

    def _create(self, call: Call[None, NewComment], issue_id: str) -> Reply:
        def effect(trailers: Mapping[str, str]) -> Reply:
            made = self._issues.comment(issue_id, call.body.body, trailers=trailers, **_who(call))
            return _said(made)

        def repeat(commit: str) -> Reply:
            return _said(self._issues.commented_in(commit))

        return once_in_git(call, (issue_id,), self._services, effect=effect, repeat=repeat)


def _who(call: Call[Any, Any]) -> dict[str, Any]:
    return {"author": author_of(call.principal), "by": call.principal.user_id}


def _new_issue(body: CreateIssue) -> NewIssue:
    return NewIssue(
        title=body.title,
        body=body.body,
        labels=tuple(dict.fromkeys(body.labels)),
        asset=_asset(body.asset_type, body.asset_id),
        source=body.source,
    )


def _asset(asset_type: str | None, asset_id: str | None) -> Asset | None:
    return Asset(asset_type, asset_id) if asset_type and asset_id else None


def _made(issue: Issue) -> Reply:
    texts = (issue.title, issue.body, issue.source, issue.asset_id, *issue.labels)
    headers = {"location": f"/workspace/issues/{issue.id}", **text_warnings(*texts)}
    return Reply(issue_view(issue), 201, headers)


def _fields(issue: Issue) -> dict[str, Any]:
    return dict(issue_view(issue))


def _said(comment: Comment) -> Reply:
    return Reply(_comment_view(comment), 201, text_warnings(comment.body))


def _comment_view(comment: Comment) -> CommentView:
    return CommentView.model_validate(comment)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    issues = WorkspaceIssues(services)
    return [
        Route("/workspace/issues", issues, tag=TAG),
        Route("/workspace/issues/{issue_id}", issues, "item", tag=TAG),
        Route("/workspace/issues/{issue_id}/comments", IssueComments(services), tag=TAG),
    ]


handler = lambda_handler(routes)
