"""Records for contract tests, and the smallest transitions that stores need."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from lib.clock import ManualClock
from lib.ids import Ids
from lib.manifest.policies import Concurrency, Limits, Retry
from lib.role import Role
from lib.storage.account_records import AccessToken, LinkPurpose, LinkUse, SignInLink
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.records import (
    Artifact,
    Feedback,
    IdempotencyClaim,
    PendingClaim,
    RunChange,
    RunError,
    RunEvent,
    RunPolicy,
    RunRecord,
    RunStatus,
    StoredAnswer,
    Trigger,
    TriggerType,
    Upload,
    Wait,
)
from lib.storage.stored import Stored

START = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
SMALL = Stored(15, text='{"who":"world"}')


class Samples:
    """Makes records; each one is a millisecond younger than the last."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self._ids = Ids(self.clock)

    @property
    def now(self) -> datetime:
        """The present of the test."""
        return self.clock.now()

    def id(self, prefix: str) -> str:
        """Return an id above all before it."""
        self.clock.advance(milliseconds=1)
        return self._ids.new(prefix)

    def run(
        self,
        worker_id: str = "hello",
        *,
        cap: int = 0,
        on_limit: Literal["queue", "skip"] = "queue",
        trigger: TriggerType = "manual",
        **fields: Any,
    ) -> RunRecord:
        """Return a queued run with two events to come."""
        run_id = self.id("run")
        policy = RunPolicy(Limits(), Retry(), Concurrency(max=cap, on_limit=on_limit))
        defaults: dict[str, Any] = {
            "id": run_id,
            "worker_id": worker_id,
            "worker_sha": "a" * 40,
            "commit": "b" * 40,
            "status": RunStatus.QUEUED,
            "trigger": Trigger(trigger, by="local-user"),
            "created_at": self.now,
            "queued_at": self.now,
            "inputs": SMALL,
            "effect_key": f"key-{run_id}",
            "manifest_digest": "c" * 64,
            "policy": policy,
            "event_count": 1,
        }
        return RunRecord(**{**defaults, **fields})

    def new(self, worker_id: str = "hello", **fields: Any) -> RunChange:
        """Return a new run and its first event."""
        run = self.run(worker_id, **fields)
        return RunChange(run, (RunEvent(1, run.created_at, "status", {"status": "queued"}),))

    def claim(self, key: str = "k", *, digest: str = "d", answer: str = '"ok"') -> IdempotencyClaim:
        """Return an idempotency claim that lives for a day."""
        body = Stored(len(answer), text=answer)
        stored = StoredAnswer(202, body, (("location", "/runs/x"),))
        return IdempotencyClaim(key, digest, self.now + timedelta(days=1), stored)

    def pending(self, key: str = "k", **fields: Any) -> PendingClaim:
        """Return a wish to take a key, by a server of this name."""
        defaults: dict[str, Any] = {
            "key": key,
            "body_digest": "d",
            "owner": "this life",
            "taken_at": self.now,
            "expires_at": self.now + timedelta(days=1),
        }
        return PendingClaim(**{**defaults, **fields})

    def feedback(self, run_id: str, feedback_id: str | None = None, **fields: Any) -> Feedback:
        """Return feedback that nobody has promoted."""
        own_id = self.id("fb")
        defaults: dict[str, Any] = {
            "id": own_id,
            "run_id": run_id,
            "feedback_id": feedback_id or own_id,
            "content": Stored(6, text='"Good"'),
            "created_by": "usr_1",
            "created_at": self.now,
        }
        return Feedback(**{**defaults, **fields})

    def artifact(self, run_id: str, name: str, sha256: str = "e" * 64) -> Artifact:
        """Return a text artifact."""
        path = f"out/{name}"
        return Artifact(self.id("art"), run_id, name, path, "text/plain", 5, sha256, self.now)

    def upload(self, **fields: Any) -> Upload:
        """Return an announced upload that expires in a day."""
        defaults: dict[str, Any] = {
            "id": self.id("upl"),
            "name": "Zahlen ü.csv",
            "size": 3,
            "sha256": "1" * 64,
            "media_type": "text/csv",
            "created_by": "usr_1",
            "created_at": self.now,
            "expires_at": self.now + timedelta(hours=24),
        }
        return Upload(**{**defaults, **fields})

    def approval(self, run: RunRecord, **fields: Any) -> Approval:
        """Return a pending approval."""
        defaults: dict[str, Any] = {
            "id": self.id("apr"),
            "run_id": run.id,
            "worker_id": run.worker_id,
            "status": ApprovalStatus.PENDING,
            "label": "Send it?",
            "preview": SMALL,
            "preview_type": "json",
            "proposal": SMALL,
            "proposal_sha256": "f" * 64,
            "required": 1,
            "requested_at": self.now,
            "expires_at": self.now + timedelta(hours=72),
        }
        return Approval(**{**defaults, **fields})

    def token(self, user_id: str, **fields: Any) -> AccessToken:
        """Return an access token for 90 days."""
        token_id = self.id("tok")
        defaults: dict[str, Any] = {
            "id": token_id,
            "sha256": digest(token_id),
            "user_id": user_id,
            "name": "ci",
            "role": Role.MEMBER,
            "created_at": self.now,
            "expires_at": self.now + timedelta(days=90),
        }
        return AccessToken(**{**defaults, **fields})

    def link(self, purpose: LinkPurpose = "invitation", **fields: Any) -> SignInLink:
        """Return a link for 15 minutes."""
        self.clock.advance(milliseconds=1)
        defaults: dict[str, Any] = {
            "sha256": digest(f"link {self.now}"),
            "purpose": purpose,
            "user_id": None,
            "email": None,
            "role": Role.MEMBER,
            "created_by": "local-user",
            "created_at": self.now,
            "expires_at": self.now + timedelta(minutes=15),
        }
        return SignInLink(**{**defaults, **fields})

    def use(self, link: SignInLink, **fields: Any) -> LinkUse:
        """Return an attempt to use a link for a session of seven days."""
        user_id = self.id("usr")
        defaults: dict[str, Any] = {
            "sha256": link.sha256,
            "purposes": frozenset({"sign_in", "invitation", "admin"}),
            "session_sha256": digest(f"session {user_id}"),
            "session_expires_at": self.now + timedelta(days=7),
            "new_user_id": user_id,
            "binding": "now",
        }
        return LinkUse(**{**defaults, **fields})


def digest(text: str) -> str:
    """Return the SHA-256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def starting(now: datetime, owner: str = "server-1") -> Callable[[RunRecord], RunChange]:
    """Return a `start` that leases a run for 30 seconds."""

    def start(run: RunRecord) -> RunChange:
        return changed(
            run,
            now,
            status=RunStatus.RUNNING,
            lease_owner=owner,
            lease_until=now + timedelta(seconds=30),
            fence=run.fence + 1,
            started_at=run.started_at or now,
            attempt_started_at=now,
        )

    return start


def ending(
    now: datetime, status: RunStatus = RunStatus.COMPLETED, **fields: Any
) -> Callable[[RunRecord], RunChange]:
    """Return a `decide` that takes a run to a status that does not run."""

    def decide(run: RunRecord) -> RunChange:
        finished_at = now if status.is_final else None
        error = RunError("execution_error", "It broke.") if status is RunStatus.FAILED else None
        ended: dict[str, Any] = {
            "status": status,
            "finished_at": finished_at,
            "error": error,
            "waits": None,
            "lease_owner": None,
            "lease_until": None,
            "attempt_started_at": None,
        }
        return changed(run, now, **{**ended, **fields})

    return decide


def retrying(now: datetime, not_before: datetime) -> Callable[[RunRecord], RunChange]:
    """Return a `decide` that queues a run again for later."""
    return ending(now, RunStatus.QUEUED, waits=Wait.TIME, not_before=not_before)


def changed(run: RunRecord, now: datetime, **fields: Any) -> RunChange:
    """Return a run with other fields, and the event that says so."""
    after = replace(run, event_count=run.event_count + 1, **fields)
    event = RunEvent(after.event_count, now, "status", {"status": after.status.value})
    return RunChange(after, (event,))
