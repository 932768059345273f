"""Failures of runs that somebody is still to be told of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from lib.storage.records import FailureReport


class FailureReportStore(Protocol):
    """Failed runs of which an issue is due, until that was seen to.

    RunStore.change adds a run in the transaction of its end, RunStore.delete
    takes away what nobody came to.
    """

    def list(self, *, limit: int, after: str = "") -> Sequence[FailureReport]:
        """Return reports by run id, those above `after`."""
        ...

    def begin(self, run_id: str, *, at: datetime) -> None:
        """Record that the issue may be in git from `at` on; an earlier time stays."""
        ...

    def settle(self, run_id: str) -> None:
        """Take the report away; idempotent."""
        ...
