"""The sweep of blobs: those that no record names go, when they are old enough.

A blob is put before the record that names it, and outlives a record that is
deleted, so one that nobody names is either young or nobody's. Nothing else is
kept of blobs: whatever was interrupted, a later round finds what it left.

It costs no write but one a page, to go on from there after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from lib.clock import Clock
from lib.log import event
from lib.storage.content import ContentStore
from lib.storage.ports import BlobReferences, StoreUnavailable

log: Final = logging.getLogger(__name__)

# From a put to the record that names it: seconds; a server that was stopped
# in between puts again.
BLOB_GRACE: Final = timedelta(hours=1)
PAGE: Final = 1_000
MAX_BLOBS: Final = 100_000  # of one sweep: 1.6 s of one core, bench/blobs.py


class BlobSweep:
    """Deletes blobs that no record names; each sweep goes on where the last one stopped.

    Args:
        content: The blobs.
        references: Who names them.
    """

    def __init__(self, *, content: ContentStore, references: BlobReferences, clock: Clock) -> None:
        self._content = content
        self._references = references
        self._clock = clock

    def sweep(
        self, *, limit: int = MAX_BLOBS, should_stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Look at up to `limit` blobs, at the end of a round at fewer; return how many went.

        Args:
            limit: Bounds the time that a sweep takes.
            should_stop: Asked between pages.

        Raises:
            StoreUnavailable: nobody can tell what there is, or what is named.
        """
        # Before the first look: what is put from now on is young whatever happens.
        cutoff = self._clock.now() - BLOB_GRACE
        swept_to = self._references.swept_to()
        blobs = self._content.list(after=swept_to)
        deleted = 0
        for first in range(0, limit, PAGE):
            wanted = min(PAGE, limit - first)
            page = [*islice(blobs, wanted)]
            deleted += self._sweep_page(page, cutoff)
            before, swept_to = swept_to, page[-1] if len(page) == wanted else ""
            if swept_to != before:
                self._references.mark_swept(swept_to)
            if not swept_to or should_stop():
                break
        return deleted

    def _sweep_page(self, page: list[str], cutoff: datetime) -> int:
        unnamed = self._references.find_unnamed(page)
        return sum(self._delete(sha256, cutoff) for sha256 in unnamed)

    def _delete(self, sha256: str, cutoff: datetime) -> bool:
        try:
            return self._content.delete(sha256, unless_put_after=cutoff)
        except StoreUnavailable as error:  # one bad file must not keep the rest for ever
            event(log, logging.ERROR, "blob_not_deleted", sha256=sha256, detail=error.detail)
            return False
