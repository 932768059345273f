"""Whose turn it is: the order of claims, and caps, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from lib.storage.records import RunRecord, Wait


@dataclass(frozen=True, slots=True)
class Choice:
    """The runs that a claim starts, and those that it holds back for a cap."""

    chosen: list[RunRecord] = field(default_factory=list)
    held: list[RunRecord] = field(default_factory=list)


def choose(
    queued: Sequence[RunRecord], running: Sequence[RunRecord], *, now: datetime, limit: int
) -> Choice:
    """Choose up to `limit` runs in their turn."""
    choice = Choice()
    busy = Counter(run.worker_id for run in running)
    for run in sorted((run for run in queued if is_claimable(run, now)), key=turn):
        if len(choice.chosen) == limit:
            break
        if 0 < run.policy.concurrency.max <= busy[run.worker_id]:
            choice.held.append(run)
        else:
            choice.chosen.append(replace(run, waits=None))
            busy[run.worker_id] += 1
    return choice


def turn(run: RunRecord) -> tuple[int, datetime, str]:
    """Return what runs are sorted by: higher priority, earlier queued, lower id."""
    return -run.priority, run.queued_at, run.id


def is_claimable(run: RunRecord, now: datetime) -> bool:
    """Return whether a queued run waits for nothing, or its time has come."""
    if run.waits is Wait.TIME:
        return run.not_before is not None and run.not_before <= now
    return run.waits is None
