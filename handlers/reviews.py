"""Review links: a proposal for somebody without an account, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import Field

from handlers.ballots import (
    MAX_REASON_CHARACTERS,
    ApprovedView,
    PendingView,
    RejectedView,
    outcome_view,
)
from handlers.review_pages import (
    Proposal,
    Proposals,
    actions_of,
    gone,
    page_of,
    recorded,
    with_problems,
)
from lib.bootstrap import Services, lambda_handler
from lib.errors import FloomError, Invalid, PayloadTooLarge
from lib.pages.forms import MAX_FORM_BYTES, read_approval, read_rejection
from lib.pages.forms import MEDIA_TYPE as FORM
from lib.pages.page import MEDIA_TYPE as PAGE
from lib.pages.page import Page
from lib.pages.review_view import NO_ANSWERS, Answers
from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.errors import ReviewNotFound
from lib.runs.approvals.voters import Voter
from lib.runs.catalogue import WorkerDisabled
from lib.runs.lifecycle import MissingConnection, MissingSecret
from lib.storage.approval_records import Approval, PreviewType, ReviewLink
from lib.storage.records import StoredAnswer
from lib.web import body as json_body
from lib.web.access import Access
from lib.web.audit import AuditActor
from lib.web.browsers import accepts_html
from lib.web.call import Call, Reply
from lib.web.media import Media, essence
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.problems import failure_of
from lib.web.rate_limits import RateLimit
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Review links"
LIMIT: Final = RateLimit(60, per_seconds=60)  # a person's pace; tokens cannot be guessed anyway
_SHA256: Final = Field(pattern="^[0-9a-f]{64}$", description="Of the proposal that was read.")

_CANNOT_ACT: Final = (
    "The worker cannot act on this now. Your vote was not taken; tell whoever sent you the link."
)

Model = TypeVar("Model", bound=RequestModel)


class ApproveByLink(RequestModel):
    """A reviewer's vote for a proposal."""

    proposal_sha256: str = _SHA256
    edited_output: dict[str, Any] | None = Field(
        None, description="What to execute instead; replaces the proposal whole."
    )
    reason: str | None = Field(None, max_length=MAX_REASON_CHARACTERS)


class RejectByLink(RequestModel):
    """A reviewer's vote against a proposal."""

    proposal_sha256: str = _SHA256
    reason: str | None = Field(None, max_length=MAX_REASON_CHARACTERS)


class ReviewView(ResponseModel):
    """What a reviewer may see, and nothing else of the workspace."""

    label: str
    preview: str
    preview_type: PreviewType
    proposed_outputs: dict[str, Any]
    proposal_sha256: str
    expires_at: Timestamp
    given: int = Field(description="Votes for it so far.")
    required: int


class Review:
    """One open review; its responders need no credential but the link."""

    def __init__(self, services: Services) -> None:
        self._links = services.review_links
        self._approvals = services.approvals
        self._proposals = Proposals(services)
        self._base_url = services.base_url

    @operation(
        "openReview",
        access=Access.PUBLIC,
        pages=True,
        limit=LIMIT,
        summary="Look at a proposal by its review link",
        responses={200: ReviewView},
        errors=["approval_not_found", "secret_unreadable"],
    )
    async def on_get(self, call: Call[None, None], token: str) -> Reply:
        """A page for browsers. Looking uses nothing up."""
        is_page = accepts_html(call.request.raw_headers)
        return await blocking(self._show, token, is_page=is_page)

    @operation(
        "approveByLink",
        access=Access.PUBLIC,
        pages=True,
        limit=LIMIT,
        summary="Vote for a proposal by its review link",
        body=Media(FORM, model=ApproveByLink),
        body_cap_bytes=MAX_FORM_BYTES,
        responses={200: ApprovedView | PendingView},
        errors=[
            "approval_not_found", "approval_changed", "approval_conflict", "forbidden",
            "validation_failed", "worker_disabled", "missing_secret", "missing_connection", "secret_unreadable",
        ],
    )  # fmt: skip
    async def on_post_approve(self, call: Call[None, None], token: str) -> Reply:
        """The link's one vote. It counts as the address that the link was made for."""
        raw = await call.read()
        if _is_form(call):
            return await blocking(self._answer_form, token, call, partial(self._approve_form, raw))
        body = _parsed(ApproveByLink, raw, call)
        return await blocking(self._approve, token, call, body)

    @operation(
        "rejectByLink",
        access=Access.PUBLIC,
        pages=True,
        limit=LIMIT,
        summary="Vote against a proposal by its review link",
        body=Media(FORM, model=RejectByLink),
        body_cap_bytes=MAX_FORM_BYTES,
        responses={200: RejectedView},
        errors=[
            "approval_not_found", "approval_changed", "approval_conflict", "forbidden",
            "validation_failed",
        ],
    )  # fmt: skip
    async def on_post_reject(self, call: Call[None, None], token: str) -> Reply:
        """One reject decides."""
        raw = await call.read()
        if _is_form(call):
            return await blocking(self._answer_form, token, call, partial(self._reject_form, raw))
        body = _parsed(RejectByLink, raw, call)
        return await blocking(self._reject, token, call, body)

    def _find(self, token: str, call: _Post) -> tuple[Approval, ReviewLink]:
        """Return the open review; from here on the call is on record as its reader's."""
        approval, link = self._links.find(token)
        call.audit_as(AuditActor(link.email or link.id, None, "review_link"))
        return approval, link

    def _show(self, token: str, *, is_page: bool) -> Reply:
        try:
            approval, link = self._links.find(token)
        except ReviewNotFound as error:
            if not is_page:
                raise
            return _page(gone(error))
        if is_page:
            return _page(self._page(token, self._proposals.read(approval), link))
        return Reply(_view(self._proposals.read(approval)))

    def _page(
        self,
        token: str,
        proposal: Proposal,
        link: ReviewLink,
        answers: Answers = NO_ANSWERS,
        status: int = 200,
    ) -> Page:
        actions = actions_of(self._base_url, token)
        return page_of(proposal, link, actions, answers=answers, status=status)

    def _approve(self, token: str, call: _Post, body: ApproveByLink) -> Reply:
        approval, link = self._find(token, call)
        edited = None
        if body.edited_output is not None:
            edited = self._proposals.read(approval).with_files(body.edited_output)
        ballot = Ballot(
            voter=self._links.reader_of(link, address=call.client),
            proposal_sha256=body.proposal_sha256,
            edited_output=edited,
            reason=body.reason,
        )
        return Reply(outcome_view(self._vote_for(approval.id, ballot)))

    def _vote_for(self, approval_id: str, ballot: Ballot) -> Outcome:
        """Take the vote; what the worker lacks is no reviewer's to know."""
        try:
            return _outcome(self._approvals.approve(approval_id, ballot))
        except (WorkerDisabled, MissingSecret, MissingConnection) as error:
            raise type(error)(_CANNOT_ACT) from None

    def _reject(self, token: str, call: _Post, body: RejectByLink) -> Reply:
        approval, link = self._find(token, call)
        ballot = Ballot(
            voter=self._links.reader_of(link, address=call.client),
            proposal_sha256=body.proposal_sha256,
            reason=body.reason,
        )
        return Reply(outcome_view(_outcome(self._approvals.reject(approval.id, ballot))))

    def _answer_form(self, token: str, call: _Post, answer: _AnswerForm) -> Reply:
        """Answer a form with a page, whatever comes of it."""
        try:
            approval, link = self._find(token, call)
            voter = self._links.reader_of(link, address=call.client)
            return _page(answer(_Open(token, approval, link, voter)))
        except ReviewNotFound as error:
            return _page(gone(error))

    def _approve_form(self, raw: bytes, opened: _Open) -> Page:
        approval = opened.approval
        proposal = self._proposals.read(approval)
        form = read_approval(raw, proposal.fields, approval.proposal_sha256)
        if not form.can_be_taken:
            return self._again(opened, form.answers, 422 if form.is_current else 409)
        edited = {**proposal.verbatim, **form.edits} if form.edits else None
        ballot = Ballot(
            voter=opened.voter, proposal_sha256=approval.proposal_sha256, edited_output=edited
        )
        return self._cast(opened, form.answers, partial(self._vote_for, approval.id, ballot))

    def _reject_form(self, raw: bytes, opened: _Open) -> Page:
        approval = opened.approval
        form = read_rejection(raw, approval.proposal_sha256)
        if not form.can_be_taken:
            return self._again(opened, form.answers, 422 if form.is_current else 409)
        ballot = Ballot(
            voter=opened.voter,
            proposal_sha256=approval.proposal_sha256,
            reason=form.reason or None,
        )
        return self._cast(
            opened, form.answers, partial(self._approvals.reject, approval.id, ballot)
        )

    def _cast(
        self, opened: _Open, answers: Answers, vote: Callable[[], Outcome | StoredAnswer]
    ) -> Page:
        """Vote; where the vote is not taken, show the page with the reason and what was typed."""
        try:
            return recorded(opened.approval, _outcome(vote()))
        except ReviewNotFound:
            raise
        except Invalid as error:
            return self._again(opened, with_problems(answers, error), 422)
        except FloomError as error:
            status = failure_of(error).status
            return self._again(opened, replace(answers, notice=error.detail), status)

    def _again(self, opened: _Open, answers: Answers, status: int) -> Page:
        approval, link = self._links.find(opened.token)  # as it is by now
        return self._page(opened.token, self._proposals.read(approval), link, answers, status)


@dataclass(frozen=True, slots=True)
class _Open:
    """An open review, and whose vote the link carries."""

    token: str
    approval: Approval
    link: ReviewLink
    voter: Voter


_Post = Call[None, None]
_AnswerForm = Callable[[_Open], Page]


def _view(proposal: Proposal) -> ReviewView:
    approval = proposal.approval
    return ReviewView(
        label=approval.label,
        preview=proposal.preview,
        preview_type=approval.preview_type,
        proposed_outputs=proposal.outputs,
        proposal_sha256=approval.proposal_sha256,
        expires_at=approval.expires_at,
        given=len(approval.counted),
        required=approval.required,
    )


def _is_form(call: _Post) -> bool:
    return essence(call.request.content_type) == FORM


def _parsed(model: type[Model], raw: bytes, call: _Post) -> Model:
    json_body.check_is_json(call.request.content_type)
    if len(raw) > json_body.DEFAULT_CAP_BYTES:
        raise PayloadTooLarge(f"Send JSON of at most {json_body.DEFAULT_CAP_BYTES:,} bytes.")
    return json_body.validate(model, raw, json_body.parse(raw))


def _outcome(outcome: Outcome | StoredAnswer) -> Outcome:
    assert isinstance(outcome, Outcome)  # noqa: S101 - no key, no stored answer
    return outcome


def _page(page: Page) -> Reply:
    return Reply(page.body, page.status, page.headers, media_type=PAGE)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    review = Review(services)
    return [
        Route("/approvals/public/{token}", review, tag=TAG),
        Route("/approvals/public/{token}/approve", review, "approve", tag=TAG),
        Route("/approvals/public/{token}/reject", review, "reject", tag=TAG),
    ]


handler = lambda_handler(routes)
