"""The state machine of a run. Nothing else decides what a run becomes.

```
queued ── Started ── running ── Completed ─ completed
  │                    ├─ Failed ───────── failed, or queued again (attempt + 1)
  │                    ├─ Interrupted ──── failed, or queued again (attempt + 1)
  │                    ├─ NeverStarted ─── queued again (same attempt)
  │                    ├─ Cancelled ────── cancelled
  │                    └─ Proposed ─────── pending_approval
  └─ CancelRequested: queued and pending_approval end at once, running is marked

pending_approval ── Decided ── completed, or failed with why not
```

`transition` is pure: a store applies it to the run as it is and writes the
result in one transaction. Events of an executor carry the fence of its claim;
with an older one than the run's they are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from lib.clock import rfc3339
from lib.errors import Conflict
from lib.storage.approval_records import Approval
from lib.storage.ports import StaleFence
from lib.storage.records import (
    Artifact,
    LogLine,
    RunChange,
    RunError,
    RunEvent,
    RunRecord,
    RunStatus,
    SandboxReport,
    Wait,
)
from lib.storage.stored import Stored

MAX_RETRY_DELAY_SECONDS: Final = 24 * 3600


class RunStateConflict(Conflict):
    """The run is not in a state from which this is possible."""

    code = "run_state_conflict"


@dataclass(frozen=True, slots=True)
class Started:
    """An executor claims the run; its fence grows by one.

    Attributes:
        token_sha256: Of the token that the attempt will hold; the last one's ends here.
    """

    owner: str
    lease_until: datetime
    runner: str
    sandbox: SandboxReport
    token_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What an attempt leaves beside its outcome.

    Attributes:
        lines: Last lines of its log.
    """

    artifacts: tuple[Artifact, ...] = ()
    logs_dropped: int = 0
    lines: tuple[LogLine, ...] = ()


NOTHING: Final = Left()


@dataclass(frozen=True, slots=True)
class Completed:
    """The worker did what its manifest promises."""

    fence: int
    outputs: Stored
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; the manifest's `retry` decides whether another follows."""

    fence: int
    error: RunError
    outputs: Stored | None = None
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt's executor or host went away; its process is known to be gone."""

    fence: int
    message: str
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """The run was claimed, but its process never came to be."""

    fence: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The process tree was ended because somebody asked for it."""

    fence: int
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposing run ends and waits for a decision."""

    fence: int
    approval: Approval
    outputs: Stored
    left: Left = NOTHING


@dataclass(frozen=True, slots=True)
class Decided:
    """The proposal was approved, or not.

    Attributes:
        error: Why not; None: it was approved.
    """

    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A caller wants the run to end."""


Event = (
    Started | Completed | Failed | Interrupted | NeverStarted | Cancelled | Proposed | Decided
    | CancelRequested
)  # fmt: skip

_RUNNING: Final = frozenset({RunStatus.RUNNING})
ALLOWED: Final[dict[type[Event], frozenset[RunStatus]]] = {
    Started: frozenset({RunStatus.QUEUED}),
    Completed: _RUNNING,
    Failed: _RUNNING,
    Interrupted: _RUNNING,
    NeverStarted: _RUNNING,
    Cancelled: _RUNNING,
    Proposed: _RUNNING,
    Decided: frozenset({RunStatus.PENDING_APPROVAL}),
    CancelRequested: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PENDING_APPROVAL}),
}


def transition(run: RunRecord, event: Event, now: datetime) -> RunChange:  # noqa: C901 - an arm an event
    """Return what `event` makes of `run`.

    Raises:
        RunStateConflict: the run's status does not allow it.
        StaleFence: the event comes from an executor that lost the run.
    """
    if run.status not in ALLOWED[type(event)]:
        raise RunStateConflict(_refusal(run, event))
    if not isinstance(event, Started | Decided | CancelRequested) and event.fence != run.fence:
        raise StaleFence(f"Run {run.id} was taken over: fence {event.fence} is not {run.fence}.")
    match event:
        case Started():
            return _started(run, event, now)
        case Completed():
            return _completed(run, event, now)
        case Failed():
            return _failed(run, event, now)
        case Interrupted():
            return _interrupted(run, event, now)
        case NeverStarted():
            return _never_started(run, now)
        case Cancelled():
            return _changed(_ended(run, now), RunStatus.CANCELLED, now, event.left)
        case Proposed():
            return _proposed(run, event, now)
        case Decided():
            return _decided(run, event, now)
        case CancelRequested():
            return _cancel_requested(run, now)
        case _:  # pragma: no cover
            assert_never(event)


def first_change(run: RunRecord) -> RunChange:
    """Return the change that creates a queued run: itself and its first event."""
    return _changed(run, RunStatus.QUEUED, run.created_at)


def _started(run: RunRecord, event: Started, now: datetime) -> RunChange:
    claimed = replace(
        run,
        lease_owner=event.owner,
        lease_until=event.lease_until,
        fence=run.fence + 1,
        runner=event.runner,
        sandbox=event.sandbox,
        token_sha256=event.token_sha256,
        started_at=run.started_at or now,
        attempt_started_at=now,
        waits=None,
        not_before=None,
        error=None,
    )
    return _changed(claimed, RunStatus.RUNNING, now)


def _completed(run: RunRecord, event: Completed, now: datetime) -> RunChange:
    ended = replace(_ended(run, now), outputs=event.outputs)
    return _changed(ended, RunStatus.COMPLETED, now, event.left)


def _failed(run: RunRecord, event: Failed, now: datetime) -> RunChange:
    if run.cancel_requested_at is None and _may_retry(run, event.error.code):
        return _queued_again(run, event.error, now, event.left)
    ended = replace(_ended(run, now), error=event.error, outputs=event.outputs)
    change = _changed(ended, RunStatus.FAILED, now, event.left)
    return replace(change, reports_failure=run.policy.issue_on_failure)


def _interrupted(run: RunRecord, event: Interrupted, now: datetime) -> RunChange:
    if run.cancel_requested_at is not None:
        return _changed(_ended(run, now), RunStatus.CANCELLED, now, event.left)
    error = RunError("interrupted", event.message)
    return _failed(run, Failed(event.fence, error, left=event.left), now)


def _never_started(run: RunRecord, now: datetime) -> RunChange:
    if run.cancel_requested_at is not None:
        return _changed(_ended(run, now), RunStatus.CANCELLED, now)
    return _changed(_released(run, now, counts=False), RunStatus.QUEUED, now)


def _proposed(run: RunRecord, event: Proposed, now: datetime) -> RunChange:
    waiting = replace(_released(run, now), outputs=event.outputs)
    change = _changed(waiting, RunStatus.PENDING_APPROVAL, now, event.left)
    return with_approval(change, event.approval, now)


def _decided(run: RunRecord, event: Decided, now: datetime) -> RunChange:
    """Return the end of a proposing run. People refused it: that is no failure to report."""
    status = RunStatus.COMPLETED if event.error is None else RunStatus.FAILED
    return _changed(replace(_ended(run, now), error=event.error), status, now)


def _cancel_requested(run: RunRecord, now: datetime) -> RunChange:
    if run.status is RunStatus.RUNNING:
        return RunChange(replace(run, cancel_requested_at=run.cancel_requested_at or now))
    return _changed(replace(_ended(run, now), cancel_requested_at=now), RunStatus.CANCELLED, now)


def _may_retry(run: RunRecord, code: str) -> bool:
    retry = run.policy.retry
    return code in retry.on and run.attempt < retry.max_attempts


def _queued_again(run: RunRecord, error: RunError, now: datetime, left: Left) -> RunChange:
    retry = run.policy.retry
    delay = min(retry.delay_seconds * retry.backoff ** (run.attempt - 1), MAX_RETRY_DELAY_SECONDS)
    queued = replace(
        _released(run, now),
        attempt=run.attempt + 1,
        error=error,
        queued_at=now,
        not_before=now + timedelta(seconds=delay),
        waits=Wait.TIME,
    )
    return _changed(queued, RunStatus.QUEUED, now, left)


def _released(run: RunRecord, now: datetime, *, counts: bool = True) -> RunRecord:
    """Return the run without its lease, the attempt's time added up."""
    spent = run.duration_ms
    if counts and run.attempt_started_at is not None:
        passed = now - run.attempt_started_at
        spent = (spent or 0) + max(0, round(passed / timedelta(milliseconds=1)))
    return replace(
        run,
        lease_owner=None,
        lease_until=None,
        attempt_started_at=None,
        token_sha256=None,
        duration_ms=spent,
    )


def _ended(run: RunRecord, now: datetime) -> RunRecord:
    return replace(_released(run, now), finished_at=now, waits=None, not_before=None)


def _changed(run: RunRecord, status: RunStatus, now: datetime, left: Left = NOTHING) -> RunChange:
    """Return the change to `status`, with an event for each artifact and for the status."""
    facts = [("artifact", _artifact_data(artifact)) for artifact in left.artifacts]
    run = replace(run, status=status, logs_dropped=run.logs_dropped + left.logs_dropped)
    facts.append(("status", _status_data(run)))
    recorded, events = _recorded(run, facts, now)
    return RunChange(recorded, events, lines=left.lines, artifacts=left.artifacts)


def with_approval(change: RunChange, approval: Approval, now: datetime) -> RunChange:
    """Return a change that brings an approval as it is now, and tells of it."""
    data = {
        "id": approval.id,
        "status": approval.status.value,
        "label": approval.label,
        "votes": {"given": len(approval.counted), "required": approval.required},
    }
    run, events = _recorded(change.run, [("approval", data)], now)
    return replace(change, run=run, events=change.events + events, approval=approval)


def _recorded(
    run: RunRecord, facts: list[tuple[Any, dict[str, Any]]], now: datetime
) -> tuple[RunRecord, tuple[RunEvent, ...]]:
    events = tuple(
        RunEvent(run.event_count + number, now, kind, data)
        for number, (kind, data) in enumerate(facts, start=1)
    )
    return replace(run, event_count=run.event_count + len(events)), events


def _status_data(run: RunRecord) -> dict[str, Any]:
    return {
        "status": run.status.value,
        "attempt": run.attempt,
        "error": None if run.error is None else {"code": run.error.code},
        "not_before": None if run.not_before is None else rfc3339(run.not_before),
    }


def _artifact_data(artifact: Artifact) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size": artifact.size,
        "sha256": artifact.sha256,
    }


_VERBS: Final[dict[type[Event], str]] = {
    Started: "be started",
    CancelRequested: "be cancelled",
    Decided: "be decided on",
}


def _refusal(run: RunRecord, event: Event) -> str:
    verb = _VERBS.get(type(event), "take the result of an attempt")
    return f"Run {run.id} is {run.status.value} and cannot {verb} any more."
