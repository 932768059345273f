"""Proposals that nobody decided on in time: their manifest says what that means."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from lib.clock import Clock
from lib.errors import FloomError
from lib.log import event
from lib.runs.approvals.ballots import Ballot
from lib.runs.approvals.docket import Docket
from lib.runs.approvals.follow_ups import FollowUps
from lib.runs.approvals.rulings import Decide, approved, refused, vote_of, with_vote
from lib.runs.approvals.voters import Voter
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.ports import ApprovalNotFound, ApprovalStore, RunStore, StoreUnavailable
from lib.storage.records import Ruling, RunChange, RunError, RunRecord

SYSTEM_VOTER: Final = "system:expiry"
BATCH: Final = 100

_log = logging.getLogger(__name__)


class Expiry:
    """Ends what waited too long. Any number of servers may, at once."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        docket: Docket,
        runs: RunStore,
        follow_ups: FollowUps,
        clock: Clock,
    ) -> None:
        self._store = store
        self._docket = docket
        self._runs = runs
        self._follow_ups = follow_ups
        self._clock = clock

    def sweep(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Expire what is due; return how many that were.

        What cannot be expired, such as a damaged record, stays due: it is looked
        past, or a batch of such would keep all others waiting for ever.
        """
        done = 0
        stuck: set[str] = set()
        while due := self._list_due(stuck):
            for approval_id in due:
                if should_stop():
                    return done
                if self._try_to_expire(approval_id):
                    done += 1
                else:
                    stuck.add(approval_id)
        return done

    def _list_due(self, stuck: set[str]) -> list[str]:
        found = self._store.list_expired(now=self._clock.now(), limit=BATCH + len(stuck))
        return [approval_id for approval_id in found if approval_id not in stuck]

    def _try_to_expire(self, approval_id: str) -> bool:
        """Expire one; whether it waits no more."""
        try:
            self.expire(approval_id)
            return not self._store.get(approval_id).is_pending
        except ApprovalNotFound:  # it went with its run just now
            return True
        except StoreUnavailable:  # that concerns all of them: later
            raise
        except FloomError as error:
            event(
                _log, logging.ERROR, "approval_not_expired",
                approval_id=approval_id, detail=error.detail,
            )  # fmt: skip
        except Exception:  # noqa: BLE001  # one that cannot be read must not stop the others
            _log.exception("approval_not_expired %s", approval_id)
        return False

    def expire(self, approval_id: str) -> None:
        """Do what the manifest says when nobody decided in time; nothing if somebody did."""
        approval = self._store.get(approval_id)
        run = self._runs.get(approval.run_id)
        now = self._clock.now()
        prepared = self._prepare(run, approval, now)

        def judge(run: RunRecord, approval: Approval) -> Ruling | None:
            if not approval.is_pending or now < approval.expires_at:
                return None
            return Ruling(prepared(run, approval))

        self._docket.decide(approval_id, judge, now=now)

    def _prepare(self, run: RunRecord, approval: Approval, now: datetime) -> Decide:
        """Return the end that the manifest wants: a refusal, or a vote of the system's."""
        policy = run.policy.approvals
        why = "Nobody decided in time."
        follow_up = None
        if policy is not None and policy.on_expire == "approve" and not policy.approvers:
            try:
                self._follow_ups.manifest_of(run)
                follow_up = self._follow_ups.execute(
                    run, approval, self._follow_ups.proposal_of(approval), by=SYSTEM_VOTER
                )
            except StoreUnavailable:  # no reason to refuse it: the next sweep tries again
                raise
            except FloomError as error:
                why = f"Nobody decided in time, and it cannot be executed now: {error.detail}"
        basis = approval.proposal_sha256

        def decide(run: RunRecord, approval: Approval) -> RunChange:
            if follow_up is None or approval.required > 1 or approval.proposal_sha256 != basis:
                error = RunError("approval_expired", why)
                return refused(run, approval, error, ApprovalStatus.EXPIRED, now, None)
            voter = Voter(id=SYSTEM_VOTER, method="system")
            vote = vote_of(Ballot(voter=voter), approval, "approve", now)
            return approved(run, with_vote(approval, vote), follow_up, now)

        return decide
