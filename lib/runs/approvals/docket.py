"""Rulings, written down and told to whoever waits for them."""

from __future__ import annotations

from datetime import datetime

from lib.runs.signals import Bell, RunSignals
from lib.storage.ports import ApprovalStore, ClaimKey, Judge, Verdict


class Docket:
    """Writes what a judge decides.

    Args:
        signals: Hears of the run.
        bell: Rung when a follow-up may be claimed.
    """

    def __init__(self, *, store: ApprovalStore, signals: RunSignals, bell: Bell) -> None:
        self._store = store
        self._signals = signals
        self._bell = bell

    def decide(
        self, approval_id: str, judge: Judge, *, now: datetime, key: ClaimKey | None = None
    ) -> Verdict:
        """Do what ApprovalStore.decide does; then wake who waits for it."""
        verdict = self._store.decide(approval_id, judge, now=now, key=key)
        change = verdict.change
        if change is not None:
            self._signals.notify(change.run.id)
            if change.follow_up is not None:
                self._bell.ring()
        return verdict
