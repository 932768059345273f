"""Proposals that wait for a decision, the votes on them and the links to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lib.storage.stored import Stored


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


PreviewType = Literal["text", "markdown", "json", "csv", "email"]


VoteDecision = Literal["approve", "reject"]
VoteMethod = Literal["local", "shared_secret", "session", "token", "link", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One voter's word on one proposal.

    Attributes:
        voter: A user id, the address that a review link was made for, the id of a
            link without one, or `system:expiry`.
        email: The voter's address, where it is known.
        link_id: Of the review link, where the vote came by one.
        proposal_sha256: What was voted on.
        edited: Whether the vote came with the edit that made this proposal. Earlier
            votes do not count any more.
        address: Where the request came from; None for the system.
    """

    voter: str
    email: str | None = None
    method: VoteMethod
    link_id: str | None = None
    decision: VoteDecision
    proposal_sha256: str
    edited: bool = False
    reason: str | None = None
    address: str | None = None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLink:
    """A link by which somebody without an account may vote once; it ends with its approval.

    Attributes:
        token_sha256: Of the link's token, hex.
        email: Whose vote it carries; None: nobody's in particular.
        used_at: When it carried a vote.
    """

    id: str
    token_sha256: str
    email: str | None = None
    created_by: str
    created_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A proposal that waits for a decision.

    Attributes:
        worker_title: As the manifest that proposed has it; None in older records.
        proposal: What an approval executes, verbatim.
        required: Votes that a decision needs.
        decided_by: The voter whose vote decided it.
        decided_from: The address that this vote came from.
        votes: All that were given, in order, those on earlier proposals too.
        follow_up_run_id: The run that executes it, or tries again after a reject.
    """

    id: str
    run_id: str
    worker_id: str
    worker_title: str | None = None
    status: ApprovalStatus
    label: str
    preview: Stored
    preview_type: PreviewType
    proposal: Stored
    proposal_sha256: str
    required: int
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
    decided_from: str | None = None
    reason: str | None = None
    votes: tuple[Vote, ...] = ()
    links: tuple[ReviewLink, ...] = ()
    follow_up_run_id: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether nobody has decided yet."""
        return self.status is ApprovalStatus.PENDING

    @property
    def counted(self) -> tuple[Vote, ...]:
        """The votes for the present proposal: those since the last edit, which came with one."""
        edits = [place for place, vote in enumerate(self.votes) if vote.edited]
        present = self.votes[edits[-1] :] if edits else self.votes
        return tuple(vote for vote in present if vote.decision == "approve")

    def find_link(self, link_id: str | None) -> ReviewLink | None:
        """Return a link that may still carry a vote, as far as the link goes."""
        for link in self.links:
            if link.id == link_id and link.used_at is None and link.revoked_at is None:
                return link
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQuery:
    """Filters of a list of approvals; both must hold."""

    status: ApprovalStatus = ApprovalStatus.PENDING
    worker_id: str | None = None
