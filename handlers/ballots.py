"""Votes as requests bring them, and what is answered."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

from pydantic import Field

from lib.auth.principal import Principal, Role
from lib.runs.approvals.ballots import Outcome
from lib.runs.approvals.voters import Voter
from lib.storage.approval_records import VoteMethod
from lib.web.models import RequestModel, ResponseModel

MAX_REASON_CHARACTERS: Final = 2_000

Reason = Field(None, max_length=MAX_REASON_CHARACTERS, description="Why; kept with the vote.")
ProposalSha = Field(
    None,
    pattern="^[0-9a-f]{64}$",
    description="What is voted on; must be said where several vote, or by a link.",
)


class Approve(RequestModel):
    """A vote for a proposal."""

    edited_output: dict[str, Any] | None = Field(
        None, description="What to execute instead; replaces the proposal whole."
    )
    reason: str | None = Reason
    proposal_sha256: str | None = ProposalSha


class Reject(RequestModel):
    """A vote against a proposal; one is enough."""

    reason: str | None = Reason
    proposal_sha256: str | None = ProposalSha
    retry: bool = Field(
        False, description="Whether the worker is to propose again, told of the reason."
    )


class VotesView(ResponseModel):
    """How far a decision is."""

    given: int
    required: int


class ApprovedView(ResponseModel):
    """The proposal is executed."""

    status: Literal["approved"]
    run_id: str
    follow_up_run_id: str


class PendingView(ResponseModel):
    """The vote is counted, and others are missing."""

    status: Literal["pending"]
    run_id: str
    votes: VotesView


class RejectedView(ResponseModel):
    """The proposal is not executed."""

    status: Literal["rejected"]
    run_id: str
    retry_run_id: str | None


def voter_of(principal: Principal, address: str) -> Voter:
    """Return a caller as a voter."""
    return Voter(
        id=principal.user_id,
        email=principal.email,
        method=cast("VoteMethod", principal.method),
        is_admin=principal.role is Role.ADMIN,
        address=address or None,
    )


def outcome_view(outcome: Outcome) -> ApprovedView | PendingView | RejectedView:
    """Return what is answered to a vote."""
    if outcome.status == "approved":
        return ApprovedView(
            status="approved",
            run_id=outcome.run_id,
            follow_up_run_id=outcome.follow_up_run_id or "",
        )
    if outcome.status == "rejected":
        return RejectedView(
            status="rejected", run_id=outcome.run_id, retry_run_id=outcome.follow_up_run_id
        )
    votes = VotesView(given=outcome.given, required=outcome.required)
    return PendingView(status="pending", run_id=outcome.run_id, votes=votes)
