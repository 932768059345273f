"""What a vote makes of an approval and its run: pure, so that a transaction may ask again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from lib.errors import FieldError, Invalid
from lib.runs import state
from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.errors import ApprovalChanged, ApprovalConflict, no_review
from lib.runs.approvals.voters import check_may_vote
from lib.storage.approval_records import Approval, ApprovalStatus, ReviewLink, Vote, VoteDecision
from lib.storage.records import RunChange, RunError, RunRecord

Decide = Callable[[RunRecord, Approval], RunChange]
"""What becomes of a run and its approval, as they are when the vote is written."""


# Votes live on their approval's record, those too that an edit voids, and in its
# views: without a bound two people could edit it beyond what any store takes.
MAX_VOTES: Final = 32
MAX_REASONS_BYTES: Final = 24 * 1024  # of all votes for it; ten of full length fit


class TimeOver(Exception):
    """The approval's time is over, and nobody has recorded that yet."""


def check(
    run: RunRecord,
    approval: Approval,
    ballot: Ballot,
    starter: frozenset[str],
    now: datetime,
) -> None:
    """Check everything that may change until the vote is written.

    Raises:
        ApprovalConflict, ReviewNotFound, NotAVoter, Invalid, ApprovalChanged: in this order.
        TimeOver: nobody decided in time.
    """
    if not approval.is_pending:
        raise ApprovalConflict(f"Run {run.id} waits no more: it is {approval.status.value}.")
    if now >= approval.expires_at:
        raise TimeOver
    link_id = ballot.voter.link_id
    if link_id is not None and approval.find_link(link_id) is None:
        raise no_review()
    check_may_vote(run, ballot.voter, starter=starter)
    if ballot.proposal_sha256 is None:
        if approval.required > 1 or link_id is not None:
            raise Invalid(
                "Say which proposal you vote on: several may vote, and an edit makes another one.",
                [FieldError("/proposal_sha256", "is required here; GET /approvals shows it")],
            )
    elif ballot.proposal_sha256 != approval.proposal_sha256:
        raise changed()


def changed() -> ApprovalChanged:
    """Return the refusal of a vote on an earlier proposal."""
    return ApprovalChanged("The proposal was edited meanwhile: look at it again, then vote.")


def vote_of(
    ballot: Ballot,
    approval: Approval,
    decision: VoteDecision,
    now: datetime,
    *,
    edited: bool = False,
) -> Vote:
    """Return the vote that a ballot casts on the present proposal."""
    voter = ballot.voter
    return Vote(
        voter=voter.id,
        email=voter.email,
        method=voter.method,
        link_id=voter.link_id,
        decision=decision,
        proposal_sha256=approval.proposal_sha256,
        edited=edited,
        reason=ballot.reason,
        address=voter.address,
        at=now,
    )


def check_has_room(approval: Approval, ballot: Ballot, *, edited: bool) -> None:
    """Check that a vote for a proposal leaves room for those that it still needs.

    Votes against one are always taken: they end it.

    Raises:
        ApprovalConflict: it was edited too often.
        Invalid: the reason, with those of the other votes, is too long.
    """
    if edited and len(approval.votes) + approval.required > MAX_VOTES:
        raise ApprovalConflict(
            "This proposal was edited too often: vote for it as it is now, or reject it."
        )
    reasons = [vote.reason for vote in approval.votes] + [ballot.reason]
    if ballot.reason and sum(map(_bytes_of, reasons)) > MAX_REASONS_BYTES:
        raise Invalid(
            "The reasons of the votes on this proposal are too long: shorten yours, or give none.",
            [FieldError("/reason", "is too long beside the reasons of the other votes")],
        )


def _bytes_of(reason: str | None) -> int:
    """Return what a reason takes in a record, where control characters are escaped."""
    return len(json.dumps(reason, ensure_ascii=False).encode()) if reason else 0


def with_vote(approval: Approval, vote: Vote) -> Approval:
    """Return an approval with a vote; the link that carried it is used up."""

    def used(link: ReviewLink) -> ReviewLink:
        return replace(link, used_at=vote.at) if link.id == vote.link_id else link

    links = tuple(used(link) for link in approval.links)
    return replace(approval, votes=(*approval.votes, vote), links=links)


def approved(run: RunRecord, approval: Approval, follow_up: RunChange, now: datetime) -> RunChange:
    """Return the end of a run whose proposal has the votes it needs."""
    change = state.transition(run, state.Decided(), now)
    decided = _decided(approval, ApprovalStatus.APPROVED, follow_up, now)
    return replace(state.with_approval(change, decided, now), follow_up=follow_up)


def refused(
    run: RunRecord,
    approval: Approval,
    error: RunError,
    status: ApprovalStatus,
    now: datetime,
    again: RunChange | None = None,
) -> RunChange:
    """Return the end of a run whose proposal is not executed; `again` proposes anew."""
    change = state.transition(run, state.Decided(error), now)
    decided = _decided(approval, status, again, now)
    return replace(state.with_approval(change, decided, now), follow_up=again)


def _decided(
    approval: Approval, status: ApprovalStatus, follow_up: RunChange | None, now: datetime
) -> Approval:
    last = approval.votes[-1] if approval.votes and status is not ApprovalStatus.EXPIRED else None
    return replace(
        approval,
        status=status,
        decided_at=now,
        decided_by=last.voter if last else None,
        decided_from=last.address if last else None,
        reason=last.reason if last else None,
        follow_up_run_id=follow_up.run.id if follow_up else None,
    )


def outcome_of(change: RunChange) -> Outcome:
    """Return what a change amounts to for the voter."""
    approval = change.approval
    assert approval is not None  # noqa: S101 - every ruling carries it
    words: dict[ApprovalStatus, Literal["pending", "approved", "rejected"]] = {
        ApprovalStatus.PENDING: "pending",
        ApprovalStatus.APPROVED: "approved",
    }
    return Outcome(
        status=words.get(approval.status, "rejected"),
        run_id=change.run.id,
        follow_up_run_id=approval.follow_up_run_id,
        given=len(approval.counted),
        required=approval.required,
    )
