"""Runs and what belongs to them, with as little as a test needs."""

from __future__ import annotations

from datetime import datetime, timedelta

from lib.manifest.policies import Approvals, Concurrency, Limits, Retry
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.records import Artifact, RunPolicy, RunRecord, RunStatus, Trigger
from lib.storage.stored import Stored

SHA = "a" * 40


def retrying(attempts: int = 1, **limits: int) -> RunPolicy:
    return RunPolicy(Limits(**limits), Retry(max_attempts=attempts), Concurrency())


def queued_run(
    at: datetime, *, run_id: str = "run_0", policy: RunPolicy | None = None, **fields: object
) -> RunRecord:
    values: dict[str, object] = {
        "id": run_id,
        "worker_id": "worker",
        "worker_sha": SHA,
        "commit": SHA,
        "status": RunStatus.QUEUED,
        "trigger": Trigger("manual"),
        "created_at": at,
        "queued_at": at,
        "inputs": Stored(2, text="{}"),
        "effect_key": run_id,
        "manifest_digest": "d" * 64,
        "policy": policy or retrying(),
        **fields,
    }
    return RunRecord(**values)  # type: ignore[arg-type]


def approval(run: RunRecord, at: datetime) -> Approval:
    return Approval(
        id="apr_0",
        run_id=run.id,
        worker_id=run.worker_id,
        status=ApprovalStatus.PENDING,
        label="Send it",
        preview=Stored(2, text='""'),
        preview_type="text",
        proposal=Stored(2, text="{}"),
        proposal_sha256="0" * 64,
        required=Approvals().required_approvals,
        requested_at=at,
        expires_at=at + timedelta(hours=72),
    )


def artifact(run_id: str, at: datetime) -> Artifact:
    return Artifact("art_0", run_id, "a.txt", "out/a.txt", "text/plain", 1, "0" * 64, at)
