"""Approvals as the API shows them."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import Field

from lib.bootstrap import Services
from lib.runs.approvals.approvals import Approvals
from lib.secrets.cipher import SecretUnreadable
from lib.storage.approval_records import (
    Approval,
    ApprovalStatus,
    PreviewType,
    ReviewLink,
    Vote,
    VoteDecision,
    VoteMethod,
)
from lib.storage.content import ContentStore
from lib.web.models import ResponseModel, Timestamp

MAX_LISTED_CHARACTERS: Final = 20_000  # a page of a list may hold 200 previews


class VoteView(ResponseModel):
    """One voter's word."""

    by: str = Field(description="A user id, an address, a link's id, or `system:expiry`.")
    email: str | None
    method: VoteMethod = Field(description="The kind of credential that voted.")
    decision: VoteDecision
    counts: bool = Field(description="False for a vote on a proposal that was edited since.")
    edited: bool = Field(description="Whether the proposal voted on came with this vote.")
    reason: str | None
    at: Timestamp


class ApprovalView(ResponseModel):
    """A proposal of a run, and what became of it."""

    id: str
    run_id: str
    worker_id: str
    worker_title: str
    status: ApprovalStatus
    label: str
    preview: Any = Field(
        description="In lists at most its first 20,000 characters; null where it cannot be "
        "decrypted."
    )
    preview_type: PreviewType
    proposal_sha256: str
    votes: list[VoteView]
    required: int = Field(description="Votes that an approval needs; one reject is enough.")
    requested_at: Timestamp
    expires_at: Timestamp
    decided_at: Timestamp | None
    decided_by: str | None
    decided_from: str | None = Field(description="The address that the deciding vote came from.")
    reason: str | None
    follow_up_run_id: str | None = Field(
        description="The run that executes it, or proposes again after a reject."
    )
    review_url: None = Field(description="The console's page; this version has no console.")


class ReviewLinkView(ResponseModel):
    """A link by which somebody without an account may vote once."""

    id: str
    email: str | None
    created_by: str
    created_at: Timestamp
    used_at: Timestamp | None
    revoked_at: Timestamp | None


class ApprovalDetailView(ApprovalView):
    """An approval with what it would execute."""

    proposal: dict[str, Any] = Field(
        description="What the follow-up run is given as `approved_output`, secrets masked."
    )
    links: list[ReviewLinkView]


class ApprovalViews:
    """Makes views. Its methods block."""

    def __init__(self, *, content: ContentStore, approvals: Approvals) -> None:
        self._content = content
        self._approvals = approvals

    def view(self, approval: Approval) -> ApprovalView:
        """Return an approval as lists show it."""
        fields = self._fields(approval)
        shown = fields["preview"]
        if isinstance(shown, str) and len(shown) > MAX_LISTED_CHARACTERS:
            fields["preview"] = f"{shown[:MAX_LISTED_CHARACTERS]}…"
        return ApprovalView(**fields)

    def detail(self, approval: Approval) -> ApprovalDetailView:
        """Return an approval with its proposal and its links."""
        return ApprovalDetailView(
            **self._fields(approval),
            proposal=self._approvals.proposal_of(approval),
            links=[link_view(link) for link in approval.links],
        )

    def _fields(self, approval: Approval) -> dict[str, Any]:
        kept = {
            name: getattr(approval, name)
            for name in ApprovalView.model_fields
            if hasattr(approval, name)
        }
        counted = approval.counted
        return kept | {
            "worker_title": title_of(approval),
            "preview": self._preview(approval),
            "votes": [_vote_view(vote, counts=vote in counted) for vote in approval.votes],
            "review_url": None,
        }

    def _preview(self, approval: Approval) -> Any:
        try:
            return json.loads(self._content.load_json(approval.preview))
        except SecretUnreadable:  # one of many must not hide the others
            return None


def title_of(approval: Approval) -> str:
    """Return what the worker that proposes is called."""
    return approval.worker_title or approval.worker_id


def link_view(link: ReviewLink) -> ReviewLinkView:
    """Return what may be known of a link."""
    return ReviewLinkView.model_validate(link)


def _vote_view(vote: Vote, *, counts: bool) -> VoteView:
    return VoteView(
        by=vote.voter,
        email=vote.email,
        method=vote.method,
        decision=vote.decision,
        counts=counts or vote.decision == "reject",
        edited=vote.edited,
        reason=vote.reason,
        at=vote.at,
    )


def approval_views(services: Services) -> ApprovalViews:
    """Return what makes views of approvals."""
    return ApprovalViews(content=services.content, approvals=services.approvals)
