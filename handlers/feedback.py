"""Feedback on runs, and its promotion to issues of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from handlers.authors import author_of
from handlers.idempotency import key_use, once_in_git, repeated, scope_of, stored_answer
from handlers.issue_views import IssueView, Title, issue_view
from handlers.warnings import text_warnings
from lib.bootstrap import Services, lambda_handler
from lib.errors import FieldError, Invalid
from lib.ids import FEEDBACK_ID_PATTERN
from lib.runs.feedback import Leaving, NewFeedback
from lib.runs.promotion import Promoted, Wanted
from lib.secrets.mask import Mask
from lib.storage.records import Feedback, StoredAnswer
from lib.web.access import Access
from lib.web.call import Call, PageReply, Reply
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Feedback"
MAX_CONTENT_CHARACTERS: Final = 10_000


def _refuse_boolean(given: Any) -> Any:
    if isinstance(given, bool):  # equal to 0 or 1, to Python
        raise PydanticCustomError("rating_type", "Must be 'up', 'down', 1, 2, 3, 4 or 5.")
    return given


Content = Annotated[
    str,
    Field(min_length=1, max_length=MAX_CONTENT_CHARACTERS, examples=["The second total is wrong."]),
]
GivenRating = Annotated[
    Literal["up", "down", 1, 2, 3, 4, 5],
    BeforeValidator(_refuse_boolean),
    Field(description="A thumb, or 1 (worst) to 5 (best)."),
]
FeedbackId = Annotated[
    str,
    Field(
        pattern=FEEDBACK_ID_PATTERN,
        description="A name of your own, unique in the run; without one it gets its id.",
    ),
]


class LeaveFeedback(RequestModel):
    """What somebody says of a run."""

    content: Content
    rating: GivenRating | None = None
    feedback_id: FeedbackId | None = None


class FeedbackView(ResponseModel):
    """One piece of feedback."""

    id: str
    feedback_id: str
    run_id: str
    content: str
    rating: GivenRating | None
    created_by: str
    created_at: Timestamp
    issue_id: str | None = Field(description="The workspace issue that was made of it.")


class PromoteFeedback(RequestModel):
    """Feedback that is to become an issue: some that is there, or some to leave first."""

    feedback_id: FeedbackId | None = None
    content: Content | None = Field(
        None, description="What is said, where the run does not know the `feedback_id`."
    )
    rating: GivenRating | None = None
    title: Title | None = Field(None, description="Of the issue; else made of the content.")


class PromotionView(ResponseModel):
    """What became of the feedback."""

    issue_id: str = Field(examples=["ISSUE-0001"])
    created: bool = Field(description="Whether this request made the issue.")
    issue: IssueView | None = Field(
        description="As it is now; null where somebody has deleted its file, or damaged it."
    )


class RunFeedback:
    """What was said of one run."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._book = services.feedback

    @operation(
        "listRunFeedback",
        access=Access.MEMBER,
        summary="List feedback on a run",
        query=PageQuery,
        responses={200: list[FeedbackView]},
        errors=["run_not_found", "validation_failed", "secret_unreadable"],
    )
    async def on_get(self, call: Call[PageQuery, None], run_id: str) -> PageReply:
        """Newest first."""
        return await blocking(self._list, call.query, run_id)

    @operation(
        "leaveRunFeedback",
        access=Access.MEMBER,
        summary="Leave feedback on a run",
        body=LeaveFeedback,
        responses={201: FeedbackView, 200: FeedbackView},
        headers=["Idempotency-Key"],
        errors=[
            "run_not_found",
            "feedback_conflict",
            "issue_numbers_used_up",
            "validation_failed",
            "idempotency_key_reused",
            "secret_unreadable",
        ],
    )
    async def on_post(self, call: Call[None, LeaveFeedback], run_id: str) -> Reply:
        """On a run of any status. A signal only: nothing else happens until it is promoted.

        A `feedback_id` that the run knows answers 200 with what is there, if content
        and rating are the same, and 409 otherwise.
        """
        return await blocking(self._leave, call, run_id)

    def _list(self, query: PageQuery, run_id: str) -> PageReply:
        mask = self._mask(run_id)
        page = self._book.list(run_id, limit=query.limit, after=query.key(str))
        rows = [self._view(row, mask) for row in page.rows]
        return PageReply(rows, cursor_of(page.next_key))

    def _leave(self, call: Call[None, LeaveFeedback], run_id: str) -> Reply:
        content = self._services.content

        def stored(leaving: Leaving) -> StoredAnswer:
            status, view = self._answer(leaving)
            return stored_answer(status, view, {}, content=content)

        said = NewFeedback(run_id=run_id, by=call.principal.user_id, **dict(call.body))
        left = self._book.leave(said, key=key_use(call, (run_id,), answer=stored))
        if isinstance(left, StoredAnswer):
            return repeated(left, content)
        status, view = self._answer(left)
        return Reply(view, status)

    def _answer(self, leaving: Leaving) -> tuple[int, FeedbackView]:
        row = leaving.feedback
        return 201 if leaving.is_new else 200, self._view(row, self._mask(row.run_id))

    def _mask(self, run_id: str) -> Mask:
        return self._services.masks.of_run(self._services.runs.get(run_id))

    def _view(self, row: Feedback, mask: Mask) -> FeedbackView:
        """Return a row as the API shows it: without secrets, should somebody have pasted one."""
        content = mask.text(self._book.words(row))
        fields = {name: getattr(row, name) for name in FeedbackView.model_fields}
        return FeedbackView(**(fields | {"content": content}))


class FeedbackPromotion:
    """Issues that are made of feedback."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "promoteRunFeedback",
        access=Access.MEMBER,
        summary="Make an issue of feedback",
        body=PromoteFeedback,
        responses={201: PromotionView, 200: PromotionView},
        headers=["Idempotency-Key"],
        errors=[
            "run_not_found",
            "feedback_not_found",
            "feedback_conflict",
            "validation_failed",
            "workspace_conflict",
            "idempotency_key_reused",
            "idempotency_key_in_use",
            "secret_unreadable",
        ],
    )
    async def on_post(self, call: Call[None, PromoteFeedback], run_id: str) -> Reply:
        """One commit, and only one: the same `feedback_id` again answers 200 and the same issue.

        Whatever its status, and whoever else asks at the same time. `content` is
        left as feedback first where the run does not know the `feedback_id`, or
        none is sent; where it knows it, what is there counts. Stored secrets are
        masked; what else looks like a live credential is named in `x-floom-warning`.
        """
        if call.body.feedback_id is None and call.body.content is None:
            detail = "Send a feedback_id, or content."
            raise Invalid(detail, [FieldError("/feedback_id", detail)])
        return await blocking(self._promote, call, run_id)

    def _promote(self, call: Call[None, PromoteFeedback], run_id: str) -> Reply:
        wanted = Wanted(
            run_id=run_id,
            author=author_of(call.principal),
            by=call.principal.user_id,
            **{**dict(call.body), "feedback_id": _feedback_id(call, run_id)},
        )

        def effect(_: Mapping[str, str]) -> Reply:
            return _promoted(self._services.promotions.promote(wanted))

        return once_in_git(call, (run_id,), self._services, effect=effect, repeat=None)


def _feedback_id(call: Call[None, PromoteFeedback], run_id: str) -> str | None:
    """Return the name that makes a repeated request find what the first one left."""
    if call.body.feedback_id is not None or call.idempotency_key is None:
        return call.body.feedback_id
    return f"key-{scope_of(call, (run_id,), call.idempotency_key)[:40]}"


def _promoted(promoted: Promoted) -> Reply:
    issue = promoted.issue
    view = PromotionView(
        issue_id=promoted.issue_id,
        created=promoted.created,
        issue=None if issue is None else issue_view(issue),
    )
    headers = {"location": f"/workspace/issues/{promoted.issue_id}"}
    if issue is not None and promoted.created:
        headers |= text_warnings(issue.title, issue.body)
    return Reply(view, 201 if promoted.created else 200, headers)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [
        Route("/runs/{run_id}/feedback", RunFeedback(services), tag=TAG),
        Route("/runs/{run_id}/feedback/issue", FeedbackPromotion(services), tag=TAG),
    ]


handler = lambda_handler(routes)
