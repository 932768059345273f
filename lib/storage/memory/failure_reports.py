"""Failures that are to be reported, in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from lib.storage.records import FailureReport


class MemoryFailureReportStore:
    """A FailureReportStore; the run store adds to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[str, FailureReport] = {}

    def add(self, run_id: str) -> None:
        """Keep a report, unless it is there."""
        with self._lock:
            self._reports.setdefault(run_id, FailureReport(run_id))

    def list(self, *, limit: int, after: str = "") -> Sequence[FailureReport]:
        """Return reports by run id, those above `after`."""
        with self._lock:
            reports = sorted(self._reports.items())
        return [report for run_id, report in reports if run_id > after][:limit]

    def begin(self, run_id: str, *, at: datetime) -> None:
        """Record that the issue may be in git from `at` on; an earlier time stays."""
        with self._lock:
            known = self._reports.get(run_id)
            if known is not None and known.tried_since is None:
                self._reports[run_id] = replace(known, tried_since=at)

    def settle(self, run_id: str) -> None:
        """Take the report away; idempotent."""
        with self._lock:
            self._reports.pop(run_id, None)
