"""Approvals: lists, votes, and links for reviewers without an account."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from handlers.approval_views import (
    ApprovalDetailView,
    ApprovalView,
    ReviewLinkView,
    approval_views,
    link_view,
    title_of,
)
from handlers.ballots import (
    Approve,
    ApprovedView,
    PendingView,
    Reject,
    RejectedView,
    outcome_view,
    voter_of,
)
from handlers.idempotency import key_use, repeated, stored_answer
from lib.bootstrap import Services, lambda_handler
from lib.ids import WORKER_ID_PATTERN
from lib.mail_texts import review_request
from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.voters import Voter
from lib.storage.approval_records import Approval, ApprovalQuery, ApprovalStatus
from lib.storage.records import StoredAnswer
from lib.web.access import Access
from lib.web.call import Call, PageReply, Reply
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Approvals"

_VOTE_ERRORS: Final = [
    "run_not_found", "forbidden", "worker_disabled", "missing_secret", "missing_connection",
    "secret_unreadable", "idempotency_key_reused",
]  # fmt: skip


class ApprovalsQuery(PageQuery):
    """Filters of the list of approvals."""

    status: ApprovalStatus = ApprovalStatus.PENDING
    worker_id: str | None = Field(None, pattern=WORKER_ID_PATTERN)


class CountView(ResponseModel):
    """How many wait."""

    pending: int


class RunDecisions:
    """Votes on what a run proposes."""

    def __init__(self, services: Services) -> None:
        self._approvals = services.approvals
        self._content = services.content

    @operation(
        "approveRun",
        access=Access.MEMBER,
        summary="Vote for a run's proposal",
        body=Approve,
        body_required=False,
        responses={200: ApprovedView | PendingView},
        headers=["Idempotency-Key"],
        errors=["approval_conflict", "approval_changed", "validation_failed", *_VOTE_ERRORS],
    )
    async def on_post_approve(self, call: Call[None, Approve], run_id: str) -> Reply:
        """The vote that completes the quorum starts the follow-up run, in one transaction.

        An edit makes another proposal: earlier votes do not count for it.
        """
        body = call.body
        ballot = Ballot(
            voter=voter_of(call.principal, call.client),
            proposal_sha256=body.proposal_sha256,
            edited_output=body.edited_output,
            reason=body.reason,
            key=key_use(call, [run_id], answer=self._stored),
        )
        return await blocking(self._approve, run_id, ballot)

    @operation(
        "rejectRun",
        access=Access.MEMBER,
        summary="Vote against a run's proposal",
        body=Reject,
        body_required=False,
        responses={200: RejectedView},
        headers=["Idempotency-Key"],
        errors=["approval_conflict", "approval_changed", "validation_failed", *_VOTE_ERRORS],
    )
    async def on_post_reject(self, call: Call[None, Reject], run_id: str) -> Reply:
        """One reject decides: the run ends as failed, `approval_rejected`.

        With `retry` a new run proposes again; it finds the reason in its input
        `review_feedback`.
        """
        body = call.body
        ballot = Ballot(
            voter=voter_of(call.principal, call.client),
            proposal_sha256=body.proposal_sha256,
            reason=body.reason,
            retry=body.retry,
            key=key_use(call, [run_id], answer=self._stored),
        )
        return await blocking(self._reject, run_id, ballot)

    def _approve(self, run_id: str, ballot: Ballot) -> Reply:
        approval = self._approvals.find_of_run(run_id)
        return self._reply(self._approvals.approve(approval.id, ballot))

    def _reject(self, run_id: str, ballot: Ballot) -> Reply:
        approval = self._approvals.find_of_run(run_id)
        return self._reply(self._approvals.reject(approval.id, ballot))

    def _reply(self, outcome: Outcome | StoredAnswer) -> Reply:
        if isinstance(outcome, StoredAnswer):
            return repeated(outcome, self._content)
        return Reply(outcome_view(outcome))

    def _stored(self, outcome: Outcome) -> StoredAnswer:
        return stored_answer(200, outcome_view(outcome), {}, content=self._content)


class Approvals:
    """The list of approvals, and one of them."""

    def __init__(self, services: Services) -> None:
        self._store = services.approval_store
        self._runs = services.runs
        self._clock = services.clock
        self._views = approval_views(services)

    @operation(
        "listApprovals",
        access=Access.MEMBER,
        summary="List approvals",
        query=ApprovalsQuery,
        responses={200: list[ApprovalView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[ApprovalsQuery, None]) -> PageReply:
        """Newest first; those that wait unless `status` says otherwise."""
        return await blocking(self._list, call.query)

    @operation(
        "countApprovals",
        access=Access.MEMBER,
        summary="How many approvals wait",
        responses={200: CountView},
    )
    async def on_get_count(self, _call: Call[None, None]) -> CountView:
        """From a counter: costs the same however many there are."""
        totals = await blocking(self._runs.totals, now=self._clock.now())
        return CountView(pending=totals.pending_approval)

    @operation(
        "getApproval",
        access=Access.MEMBER,
        summary="One approval with its proposal",
        responses={200: ApprovalDetailView},
        errors=["approval_not_found", "secret_unreadable"],
    )
    async def on_get_item(self, _call: Call[None, None], approval_id: str) -> ApprovalDetailView:
        """The proposal is what an edit starts from."""
        return await blocking(self._detail, approval_id)

    def _list(self, query: ApprovalsQuery) -> PageReply:
        page = self._store.list(
            ApprovalQuery(status=query.status, worker_id=query.worker_id),
            limit=query.limit,
            after=query.key(str),
        )
        rows = [self._views.view(each) for each in page.rows]
        return PageReply(rows, cursor_of(page.next_key))

    def _detail(self, approval_id: str) -> ApprovalDetailView:
        return self._views.detail(self._store.get(approval_id))


class NewReviewLink(RequestModel):
    """For whom a link is."""

    email: str | None = Field(
        None, max_length=1_000, description="Whose vote it carries.", examples=["ada@example.com"]
    )


class NewReviewLinkView(ReviewLinkView):
    """A link that was just made."""

    url: str | None = Field(
        description=(
            "Shown this once: to administrators, and to those who could decide without it "
            "where it carries no colleague's vote."
        )
    )
    expires_at: Timestamp
    mailed: bool


class ReviewLinks:
    """Links to one approval."""

    def __init__(self, services: Services) -> None:
        self._links = services.review_links
        self._store = services.approval_store
        self._mailer = services.mailer
        self._base_url = services.base_url

    @operation(
        "createReviewLink",
        access=Access.MEMBER,
        summary="Make a link for a reviewer without an account",
        body=NewReviewLink,
        body_required=False,
        responses={201: NewReviewLinkView},
        errors=["approval_not_found", "approval_conflict", "validation_failed", "not_configured"],
    )
    async def on_post(self, call: Call[None, NewReviewLink], approval_id: str) -> NewReviewLinkView:
        """Its one vote counts as that address. It ends with the approval.

        For administrators and those who may vote. Without an address: for
        administrators only, and only where one vote of anybody decides.
        """
        maker = voter_of(call.principal, call.client)
        return await blocking(self._make, approval_id, call.body.email, maker)

    @operation(
        "revokeReviewLink",
        access=Access.MEMBER,
        summary="Revoke a review link",
        responses={204: None},
        errors=["approval_not_found", "review_link_not_found"],
    )
    async def on_delete_item(self, call: Call[None, None], approval_id: str, link_id: str) -> None:
        """A vote that it carried already stays."""
        maker = voter_of(call.principal, call.client)
        await blocking(self._links.revoke, approval_id, link_id, maker=maker)

    def _make(self, approval_id: str, email: str | None, maker: Voter) -> NewReviewLinkView:
        can_mail = self._mailer.is_set_up and email is not None
        made = self._links.make(approval_id, email=email, maker=maker, can_mail=can_mail)
        approval = self._store.get(approval_id)
        url = f"{self._base_url}/approvals/public/{made.token}"
        return NewReviewLinkView(
            **dict(link_view(made.link)),
            url=url if made.is_shown else None,
            expires_at=approval.expires_at,
            mailed=made.link.email is not None and self._mail(approval, made.link.email, url),
        )

    def _mail(self, approval: Approval, email: str, url: str) -> bool:
        mail = review_request(
            approval.label, worker=title_of(approval), link=url, expires_at=approval.expires_at
        )
        return self._mailer.send(email, mail.subject, mail.text)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    decisions, approvals, links = (
        RunDecisions(services), Approvals(services), ReviewLinks(services),
    )  # fmt: skip
    return [
        Route("/runs/{run_id}/approve", decisions, "approve", tag=TAG),
        Route("/runs/{run_id}/reject", decisions, "reject", tag=TAG),
        Route("/approvals", approvals, tag=TAG),
        Route("/approvals/count", approvals, "count", tag=TAG),
        Route("/approvals/{approval_id}", approvals, "item", tag=TAG),
        Route("/approvals/{approval_id}/links", links, tag=TAG),
        Route("/approvals/{approval_id}/links/{link_id}", links, "item", tag=TAG),
    ]


handler = lambda_handler(routes)
