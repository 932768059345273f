"""Retention: old runs, unused uploads and spent keys go, and their space with them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from lib.clock import Clock
from lib.log import event
from lib.storage.content import ContentStore
from lib.storage.ports import LogStore, RunStore, UploadStore

log: Final = logging.getLogger(__name__)

BATCH: Final = 200
# A blob that somebody is putting again right now must not be deleted.
BLOB_GRACE: Final = timedelta(hours=1)


class Retention:
    """Deletes what is past its time.

    Args:
        days: Finished runs are kept this long; 0 keeps them for ever.
        reclaim: Gives freed space back to the file system.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        logs: LogStore,
        uploads: UploadStore,
        content: ContentStore,
        clock: Clock,
        days: int,
        reclaim: Callable[[], None],
    ) -> None:
        self._store = store
        self._logs = logs
        self._uploads = uploads
        self._content = content
        self._clock = clock
        self._days = days
        self._reclaim = reclaim

    def sweep(self) -> int:
        """Delete all that is past its time; return how many runs went."""
        now = self._clock.now()
        self._store.delete_expired_claims(now=now)
        self._uploads.delete_expired(now=now)
        deleted = self._sweep_runs(now)
        if deleted:
            self._reclaim()
            event(log, logging.INFO, "retention_swept", runs=deleted)
        return deleted

    def _sweep_runs(self, now: datetime) -> int:
        """Delete old runs, and every blob that no record names any more."""
        before = now - timedelta(days=self._days) if self._days else _NEVER
        deleted = 0
        while True:
            runs, blobs = self._store.delete_finished(before=before, limit=BATCH)
            self._logs.delete(runs)
            for sha256 in blobs:
                self._content.delete(sha256, unless_put_after=now - BLOB_GRACE)
            deleted += len(runs)
            if len(runs) < BATCH:
                return deleted


_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
