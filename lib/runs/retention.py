"""Retention: old runs, audit entries and sessions, unused uploads, spent keys, blobs of nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from lib.clock import Clock
from lib.log import event
from lib.runs.blob_sweep import BlobSweep
from lib.storage.ports import (
    AccountStore,
    AuditStore,
    ClaimStore,
    LogStore,
    RateStore,
    RunStore,
    UploadStore,
)

log: Final = logging.getLogger(__name__)

BATCH: Final = 200
MIN_AUDIT_DAYS: Final = 365  # who did what is asked for later than what a run said


class Retention:
    """Deletes what is past its time.

    Every step may be the last one: what a sweep does not come to, the next one
    finds again.

    Args:
        blobs: Deletes what no record names, once the records are gone.
        days: Finished runs are kept this long, audit entries as long and a year at
            least; 0 keeps both for ever.
        reclaim: Gives freed space back to the file system.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        claims: ClaimStore,
        accounts: AccountStore,
        logs: LogStore,
        uploads: UploadStore,
        audit: AuditStore,
        rates: RateStore,
        blobs: BlobSweep,
        clock: Clock,
        days: int,
        reclaim: Callable[[], None],
    ) -> None:
        self._store = store
        self._claims = claims
        self._accounts = accounts
        self._logs = logs
        self._uploads = uploads
        self._audit = audit
        self._rates = rates
        self._blobs = blobs
        self._clock = clock
        self._days = days
        self._reclaim = reclaim

    def sweep(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Delete what is past its time; return how many runs went.

        Args:
            should_stop: Asked between batches.
        """
        now = self._clock.now()
        self._sweep_claims(now, should_stop)
        self._sweep_accounts(now, should_stop)
        self._sweep_uploads(now, should_stop)
        self._sweep_rates(now, should_stop)
        entries = self._sweep_audit(now, should_stop)
        runs = self._sweep_runs(now, should_stop)
        blobs = 0 if should_stop() else self._blobs.sweep(should_stop=should_stop)
        if runs or entries:
            self._reclaim()
        if runs or blobs or entries:
            event(
                log,
                logging.INFO,
                "retention_swept",
                runs=runs,
                blobs=blobs,
                audit_entries=entries,
            )
        return runs

    def _sweep_claims(self, now: datetime, should_stop: Callable[[], bool]) -> None:
        while not should_stop() and self._claims.delete_expired(now=now, limit=BATCH):
            pass

    def _sweep_accounts(self, now: datetime, should_stop: Callable[[], bool]) -> None:
        while not should_stop() and self._accounts.delete_expired(now=now, limit=BATCH):
            pass

    def _sweep_uploads(self, now: datetime, should_stop: Callable[[], bool]) -> None:
        while not should_stop() and self._uploads.delete_expired(now=now, limit=BATCH):
            pass

    def _sweep_rates(self, now: datetime, should_stop: Callable[[], bool]) -> None:
        while not should_stop() and self._rates.delete_expired(now=now, limit=BATCH):
            pass

    def _sweep_audit(self, now: datetime, should_stop: Callable[[], bool]) -> int:
        deleted = 0
        before = now - timedelta(days=max(self._days, MIN_AUDIT_DAYS))
        while self._days and not should_stop():
            gone = self._audit.delete_before(before, limit=BATCH)
            if not gone:
                break
            deleted += gone
        return deleted

    def _sweep_runs(self, now: datetime, should_stop: Callable[[], bool]) -> int:
        """Delete old runs, their logs first: afterwards nobody would know of them."""
        deleted = 0
        before = now - timedelta(days=self._days)
        while self._days and not should_stop():
            runs = self._store.list_finished(before=before, limit=BATCH)
            if not runs:
                break
            self._logs.delete(runs)
            self._store.delete(runs, before=before)
            deleted += len(runs)
        return deleted
