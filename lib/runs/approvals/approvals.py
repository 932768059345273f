"""Decisions on proposals: votes, and what the one that completes them sets off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from lib.clock import Clock
from lib.runs import state
from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.docket import Docket
from lib.runs.approvals.edits import apply_edit
from lib.runs.approvals.errors import ApprovalConflict
from lib.runs.approvals.expiry import Expiry
from lib.runs.approvals.follow_ups import FollowUps
from lib.runs.approvals.rulings import (
    Decide,
    TimeOver,
    approved,
    changed,
    check,
    check_has_room,
    outcome_of,
    refused,
    vote_of,
    with_vote,
)
from lib.runs.approvals.voters import People, check_has_not_voted, starter_of, with_address
from lib.runs.collection import canonical
from lib.runs.masks import Masks
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.content import ContentStore
from lib.storage.ports import ApprovalStore, ClaimKey, RunStore
from lib.storage.records import Ruling, RunChange, RunError, RunRecord, StoredAnswer


class Approvals:
    """Takes votes. Any thread, of any number of servers, may call.

    Everything that a decision needs is made before its transaction, and judged
    again inside it: the vote that completes the quorum, the end of the run, the
    follow-up and its place in the queue stand or fall together.

    Args:
        people: Accounts, to know one person under two names.
    """

    def __init__(
        self,
        *,
        store: ApprovalStore,
        docket: Docket,
        runs: RunStore,
        expiry: Expiry,
        follow_ups: FollowUps,
        content: ContentStore,
        masks: Masks,
        people: People,
        clock: Clock,
    ) -> None:
        self._store = store
        self._docket = docket
        self._runs = runs
        self._expiry = expiry
        self._follow_ups = follow_ups
        self._content = content
        self._masks = masks
        self._people = people
        self._clock = clock

    def find_of_run(self, run_id: str) -> Approval:
        """Return what a run waits for, or waited for last.

        Raises:
            RunNotFound: there is no such run.
            ApprovalConflict: it never asked for a decision.
        """
        run = self._runs.get(run_id)
        found = self._store.list_of_run(run_id)
        if not found:
            raise ApprovalConflict(f"Run {run.id} is {run.status.value} and waits for no decision.")
        return found[-1]

    def proposal_of(self, approval: Approval) -> dict[str, Any]:
        """Return what an approval would execute, secrets masked."""
        mask = self._masks.of_run(self._runs.get(approval.run_id))
        shown: dict[str, Any] = mask.json(self._follow_ups.proposal_of(approval))
        return shown

    def verbatim_of(self, approval: Approval) -> dict[str, Any]:
        """Return what an approval would execute, as it is: for comparing, never for showing."""
        return self._follow_ups.proposal_of(approval)

    def approve(self, approval_id: str, ballot: Ballot) -> Outcome | StoredAnswer:
        """Take a vote for a proposal, or for an edit of it.

        Returns:
            What it led to, or the answer that the same request got before.

        Raises:
            ApprovalNotFound, ApprovalConflict, NotAVoter, ApprovalChanged, Invalid,
            WorkerDisabled, MissingSecret, MissingConnection: in this order; the
            proposal waits on as it was.
        """
        return self._vote(approval_id, ballot, self._prepare_approve)

    def reject(self, approval_id: str, ballot: Ballot) -> Outcome | StoredAnswer:
        """Take a vote against a proposal: the first one decides.

        Raises:
            ApprovalNotFound, ApprovalConflict, NotAVoter, ApprovalChanged; with
            `retry` also WorkerDisabled, MissingSecret, MissingConnection.
        """
        return self._vote(approval_id, ballot, self._prepare_reject)

    def _vote(
        self,
        approval_id: str,
        ballot: Ballot,
        prepare: Callable[[RunRecord, Approval, Ballot, datetime], Decide],
    ) -> Outcome | StoredAnswer:
        approval = self._store.get(approval_id)
        run = self._runs.get(approval.run_id)
        now = self._clock.now()
        key = ballot.key
        if key is not None:  # a repetition is answered whatever became of the proposal
            answer = self._runs.find_answer(key.scope, key.body_digest, now=now)
            if answer is not None:
                return answer
        starter = starter_of(run, self._people)
        ballot = replace(ballot, voter=with_address(ballot.voter, self._people))
        try:
            check(run, approval, ballot, starter, now)
            decide = prepare(run, approval, ballot, now)

            def judge(run: RunRecord, approval: Approval) -> Ruling:
                check(run, approval, ballot, starter, now)
                change = decide(run, approval)
                outcome = outcome_of(change)
                return Ruling(change, key.claim(outcome, now=now) if key is not None else None)

            claim_key = None if key is None else ClaimKey(key.scope, key.body_digest)
            verdict = self._docket.decide(approval_id, judge, now=now, key=claim_key)
        except TimeOver:
            self._expiry.expire(approval_id)
            raise ApprovalConflict(
                f"Nobody decided on run {run.id} in time; it waits no more."
            ) from None
        if verdict.replayed is not None:
            return verdict.replayed
        assert verdict.change is not None  # noqa: S101 - a vote is taken or raises
        return outcome_of(verdict.change)

    def _prepare_approve(
        self, run: RunRecord, approval: Approval, ballot: Ballot, now: datetime
    ) -> Decide:
        manifest = self._follow_ups.manifest_of(run)
        proposal = self._follow_ups.proposal_of(approval)
        edited = None
        if ballot.edited_output is not None:
            mask = self._masks.of_run(run)
            wanted = apply_edit(manifest, proposal, ballot.edited_output, mask)
            if canonical(wanted) != canonical(proposal):
                edited = self._edited(approval, wanted, shown=mask.json(wanted))
                proposal = wanted
        follow_up = self._follow_ups.execute(run, approval, proposal, by=ballot.voter.id)
        basis = approval.proposal_sha256

        def decide(run: RunRecord, approval: Approval) -> RunChange:
            if approval.proposal_sha256 != basis:
                raise changed()
            check_has_room(approval, ballot, edited=edited is not None)
            if edited is not None:
                approval = replace(
                    approval,
                    preview=edited.preview,
                    preview_type=edited.preview_type,
                    proposal=edited.proposal,
                    proposal_sha256=edited.proposal_sha256,
                )
            else:
                check_has_not_voted(approval, ballot.voter)
            vote = vote_of(ballot, approval, "approve", now, edited=edited is not None)
            approval = with_vote(approval, vote)
            if len(approval.counted) < approval.required:
                return state.with_approval(RunChange(run), approval, now)
            return approved(run, approval, follow_up, now)

        return decide

    def _prepare_reject(
        self, run: RunRecord, _approval: Approval, ballot: Ballot, now: datetime
    ) -> Decide:
        again = None
        if ballot.retry:
            self._follow_ups.manifest_of(run)
            again = self._follow_ups.propose_again(run, reason=ballot.reason)

        def decide(run: RunRecord, approval: Approval) -> RunChange:
            approval = with_vote(approval, vote_of(ballot, approval, "reject", now))
            because = f": {ballot.reason}" if ballot.reason else "."
            error = RunError("approval_rejected", f"{ballot.voter.id} rejected it{because}")
            return refused(run, approval, error, ApprovalStatus.REJECTED, now, again)

        return decide

    def _edited(self, approval: Approval, wanted: dict[str, Any], *, shown: Any) -> Approval:
        """Return an approval of what the editor wants; whoever votes next sees that."""
        text = canonical(wanted)
        return replace(
            approval,
            preview=self._content.store_json(json.dumps(canonical(shown)), sealed=True),
            preview_type="json",
            proposal=self._content.store_json(text, sealed=True),
            proposal_sha256=hashlib.sha256(text.encode()).hexdigest(),
        )
