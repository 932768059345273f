"""Concurrency caps: the rules that every RunStore follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lib.storage.ports import ConcurrencyReached
from lib.storage.records import RunChange, RunRecord, RunStatus


def check_cap(run: RunRecord, busy: Callable[[], int]) -> None:
    """Refuse a new run of a worker that rather skips than queues.

    Args:
        run: The new run.
        busy: Counts the worker's queued and running runs; called when it matters.

    Raises:
        ConcurrencyReached: the cap is reached.
    """
    rule = run.policy.concurrency
    if rule.on_limit == "skip" and rule.max and busy() >= rule.max:
        runs = "one run" if rule.max == 1 else f"{rule.max} runs"
        raise ConcurrencyReached(
            f"Worker {run.worker_id} has {runs} queued or running, as many as it may."
        )


def started_at_once(
    change: RunChange,
    start: Callable[[RunRecord], RunChange],
    *,
    is_any_claimable: Callable[[], bool],
    running: Callable[[], int],
) -> RunChange | None:
    """Return the creation of a run with its claim, where it is its turn at once; else None.

    Args:
        change: The creation.
        start: Claims the run.
        is_any_claimable: Whether another run could be claimed now.
        running: Counts the worker's running runs.
    """
    run, cap = change.run, change.run.policy.concurrency.max
    if run.waits is not None or is_any_claimable() or 0 < cap <= running():
        return None
    started = start(run)
    return replace(started, events=(*change.events, *started.events))


def frees_a_place(before: RunRecord, after: RunRecord) -> bool:
    """Return whether another run of the worker may now try to get below its cap.

    A claimable run that ends counts too: it may be the only one that was let
    out of the queue for the cap, and nobody else would let the next one out.
    """
    if before.status is RunStatus.RUNNING:
        return after.status is not RunStatus.RUNNING
    was_claimable = before.status is RunStatus.QUEUED and before.waits is None
    return was_claimable and (after.status.is_final or after.waits is not None)
