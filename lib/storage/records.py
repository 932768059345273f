"""Stored records, as frozen values. The views that the API shows are others.

Times are aware UTC datetimes with milliseconds. A JSON value that may be large
is a `Stored`: its text, or the hash of a blob that was put before the record;
sealed, both hold ciphertext.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainSerializer

from lib.clock import rfc3339
from lib.manifest.policies import Approvals, Concurrency, Limits, Retry
from lib.storage.approval_records import Approval
from lib.storage.stored import Stored, StoredBytes

ShownTime = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A time whose stored text is the one that the API shows."""


class RunStatus(StrEnum):
    """Where a run stands; see the state machine in `lib/runs/state.py`."""

    QUEUED = "queued"
    RUNNING = "running"
    PENDING_APPROVAL = "pending_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to the run any more."""
        return self in FINAL_STATUSES


FINAL_STATUSES: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class Phase(StrEnum):
    """Which half of an approval-gated run this is."""

    PROPOSE = "propose"
    EXECUTE = "execute"


class Wait(StrEnum):
    """Why a queued run cannot be claimed yet."""

    TIME = "time"  # a retry, until `not_before`
    CAP = "cap"  # its worker's concurrency cap is reached


TriggerType = Literal[
    "manual", "schedule", "webhook", "composio", "approval", "retry", "replay", "run_failed",
    "worker",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trigger:
    """What started a run.

    Attributes:
        ref: Id of the trigger, approval, parent run or delivery; None for manual.
        by: The principal's user id, or None for the system.
    """

    type: TriggerType
    ref: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: a code of runs.md section 6 and words for its reader."""

    code: str
    message: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The mechanism that really held each property of isolation, or `none`."""

    files: str = "none"
    network: str = "none"
    processes: str = "none"
    privileges: str = "none"
    limits: str = "none"


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """What the manifest said when the run was created; later edits do not apply.

    Attributes:
        issue_on_failure: Whether the run's failure for good is to be reported.
    """

    limits: Limits
    retry: Retry
    concurrency: Concurrency
    approvals: Approvals | None = None
    issue_on_failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The part of a run that lists show: as JSON, what the API answers.

    Attributes:
        worker_sha: Tree id of the worker's folder that the run executes.
        commit: The commit it was read from.
        duration_ms: Time spent running, over all attempts; waiting is not counted.
    """

    id: str
    worker_id: str
    worker_sha: str
    commit: str
    status: RunStatus
    phase: Phase | None = None
    trigger: Trigger
    priority: int = 5
    error: RunError | None = None
    attempt: int = 1
    parent_run_id: str | None = None
    created_at: ShownTime
    queued_at: ShownTime
    started_at: ShownTime | None = None
    finished_at: ShownTime | None = None
    duration_ms: int | None = None
    runner: str | None = None
    sandbox: SandboxReport | None = None
    cost_usd: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(RunSummary):
    """A run with everything that executing and replaying it needs.

    Attributes:
        effect_key: `FLOOM_IDEMPOTENCY_KEY`: the same for every attempt of one decision.
        manifest_digest: SHA-256 of the manifest that the inputs were checked against.
        waits: Why a queued run is held back; None when it may be claimed.
        lease_owner: Id of the server that runs it; None unless running.
        fence: Grows with each claim; a write with an older one is refused.
        attempt_started_at: When the present attempt began; None unless running.
        token_sha256: Of the token that the present attempt holds; None unless running.
        logs_dropped: Lines that the log's limit did not let in, over all attempts.
        event_count: Events recorded so far; the next one's sequence number less one.
        uploads: Ids of the uploads that file inputs name; they live as long as the run.
    """

    inputs: Stored
    outputs: Stored | None = None
    effect_key: str
    manifest_digest: str
    policy: RunPolicy
    waits: Wait | None = None
    not_before: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    fence: int = 0
    attempt_started_at: datetime | None = None
    token_sha256: str | None = None
    cancel_requested_at: datetime | None = None
    event_count: int = 0
    logs_dropped: int = 0
    uploads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One entry of a run's history: a change of status, an artifact, an approval.

    Attributes:
        seq: 1, 2, ... within the run, in the order in which things happened.
        data: What the event stream sends; small, JSON types only.
    """

    seq: int
    at: datetime
    type: Literal["status", "tool_call", "artifact", "approval"]
    data: dict[str, Any]


LogLevel = Literal["debug", "info", "warning", "error"]
LogStream = Literal["stdout", "stderr", "system"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log; `seq` grows over all attempts, gaps were dropped."""

    seq: int
    at: datetime
    level: LogLevel
    stream: LogStream
    message: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run left, known by its content hash.

    Attributes:
        name: Its path below `out/`, or its declared path for others; unique in the run.
        path: Relative path in the run's working directory.
        data: The bytes of a small one; None where the blob `sha256` holds them, and in
            lists, which leave them out.
    """

    id: str
    run_id: str
    name: str
    path: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    data: Annotated[bytes | None, Field(exclude=True)] = field(default=None, repr=False)

    @property
    def stored(self) -> StoredBytes:
        """Its bytes, for a ContentStore."""
        return StoredBytes(self.sha256, self.size, self.data)


Rating = Literal["up", "down"] | int
"""A thumb, or 1 to 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody says of a run; it goes with the run.

    Attributes:
        feedback_id: The caller's name for it, unique in the run; `id` where none was given.
        content: A JSON string.
        promotion_began_at: When somebody first tried to make an issue of it: the
            issue may be in git since, though it is not known here.
        issue_id: The issue that was made of it.
    """

    id: str
    run_id: str
    feedback_id: str
    content: Stored
    rating: Rating | None = None
    created_by: str
    created_at: datetime
    promotion_began_at: datetime | None = None
    issue_id: str | None = None


@dataclass(frozen=True, slots=True)
class FailureReport:
    """A failed run of which an issue is due, unless there is one like it.

    Attributes:
        tried_since: When somebody first tried to make the issue: it may be in git since.
    """

    run_id: str
    tried_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer to a request with an idempotency key."""

    status: int
    body: Stored
    headers: tuple[tuple[str, str], ...] = ()
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """One use of an idempotency key.

    Attributes:
        key: SHA-256 of the scope (principal, route template, path ids) and the key.
        body_digest: SHA-256 of the canonical body; another body is a misuse.
        answer: What a repetition within the lifetime gets.
    """

    key: str
    body_digest: str
    expires_at: datetime
    answer: StoredAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingClaim:
    """A use of an idempotency key whose effect is still to come.

    Attributes:
        key: As of an IdempotencyClaim.
        body_digest: The same.
        owner: Names one life of a server; of its claims none outlives it.
        taken_at: Nothing of the effect happened before this.
    """

    key: str
    body_digest: str
    owner: str
    taken_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyTaking:
    """What became of the wish to take an idempotency key.

    Attributes:
        answer: Of the same request, which was settled before: the key is not taken.
        tried_since: When a request that was never settled first took the key: its
            effect may have happened since. None: nobody tried before.
    """

    answer: StoredAnswer | None = None
    tried_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run as it should be now, and what comes into being with it, as one unit.

    Attributes:
        reports_failure: Whether a FailureReport of the run comes into being.
        follow_up: A new run that comes into being with the change.
        lines: Last lines of the run's log, few; those of a `seq` that is there already
            change nothing.
    """

    run: RunRecord
    events: tuple[RunEvent, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    approval: Approval | None = None
    reports_failure: bool = False
    follow_up: RunChange | None = None
    lines: tuple[LogLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of an approval and its run, and of the request that asked for it.

    Attributes:
        change: Carries the approval as it should be now.
        claim: Settled with it, where the request has an idempotency key.
    """

    change: RunChange
    claim: IdempotencyClaim | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a run: whoever holds the newest fence."""

    run_id: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Filters of a list of runs; all given ones must hold.

    Attributes:
        text: Substring of worker id or error message, any case.
        since: Created at or after; `until`: created before.
    """

    worker_id: str | None = None
    statuses: frozenset[RunStatus] = frozenset()
    trigger: TriggerType | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """A worker's newest run."""

    id: str
    status: RunStatus
    created_at: datetime
    duration_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """Counters of one worker's runs.

    Attributes:
        runs_7d: Runs created in the last 7 days, by the hour.
        succeeded_7d: Completed in the last 7 days; `finished_7d`: completed or failed.
        failure_streak: Failed runs since the last finished run that did not fail.
    """

    last_run: LastRun | None = None
    runs_7d: int = 0
    succeeded_7d: int = 0
    finished_7d: int = 0
    failure_streak: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """Counters of the whole workspace.

    Attributes:
        by_hour: Runs created in each of the last 24 hours, oldest first; the last
            entry is the hour that has begun.
    """

    by_hour: tuple[int, ...]
    succeeded_7d: int = 0
    finished_7d: int = 0
    queued: int = 0
    running: int = 0
    pending_approval: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Bytes that a client announced, and perhaps sent, for a file input."""

    id: str
    name: str
    size: int
    sha256: str
    media_type: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    received_at: datetime | None = None
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A public link to one version of a worker.

    Attributes:
        token: `fls_` and 24 characters; whoever knows it sees the worker in outline.
        sha: Tree id of the worker's folder.
        commit: Where it was read.
    """

    token: str
    worker_id: str
    sha: str
    commit: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What an instance adds to a worker; not in git.

    Attributes:
        removal_began_at: Of one that is not finished; it names that, too.
    """

    enabled: bool = True
    saved_inputs: dict[str, Any] = field(default_factory=dict)
    removal_began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealedValue:
    """An encrypted value, as a store keeps it.

    Attributes:
        key_id: Names the key that opens it.
        box: Ciphertext and tag.
    """

    key_id: str
    nonce: bytes
    box: bytes


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What may be known of a secret without its value."""

    name: str
    updated_at: datetime
    last_used_at: datetime | None = None
