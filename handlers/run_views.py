"""Runs as the API shows them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pydantic import Field

from handlers.approval_views import ApprovalView
from lib.runs.masks import Masks
from lib.storage.content import ContentStore
from lib.storage.records import (
    Artifact,
    LogLevel,
    LogLine,
    LogStream,
    Phase,
    RunRecord,
    RunStatus,
    RunSummary,
    TriggerType,
)
from lib.web.models import ResponseModel, Timestamp


class TriggerView(ResponseModel):
    """What started a run."""

    type: TriggerType
    ref: str | None
    by: str | None


class RunErrorView(ResponseModel):
    """Why a run failed."""

    code: str = Field(examples=["timeout"])
    message: str
    detail: str | None


class SandboxView(ResponseModel):
    """The mechanism that held each property of isolation, or `none`."""

    files: str
    network: str
    processes: str
    privileges: str
    limits: str


# Stores keep a summary as the JSON text of this view, and `GET /runs` sends that.
class RunSummaryView(ResponseModel):
    """A run without its inputs and outputs."""

    id: str
    worker_id: str
    worker_sha: str = Field(description="Tree id of the worker's folder.")
    commit: str
    status: RunStatus
    phase: Phase | None
    trigger: TriggerView
    priority: int
    error: RunErrorView | None
    attempt: int
    parent_run_id: str | None
    created_at: Timestamp
    queued_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_ms: int | None = Field(description="Time spent running, waiting not counted.")
    runner: str | None
    sandbox: SandboxView | None
    cost_usd: float | None
    tokens: int | None


class RunView(RunSummaryView):
    """A run with its inputs and outputs."""

    inputs: dict[str, Any]
    outputs: dict[str, Any] | None
    cancel_requested_at: Timestamp | None


class LogLineView(ResponseModel):
    """One line of a run's log."""

    seq: int
    at: Timestamp
    level: LogLevel
    stream: LogStream
    message: str


class ArtifactView(ResponseModel):
    """A file that a run left."""

    id: str
    name: str
    path: str
    media_type: str
    size: int
    sha256: str
    url: str


class ToolCallView(ResponseModel):
    """A tool that a run called."""

    id: str
    seq: int
    name: str
    arguments: Any
    result: Any
    error: str | None
    started_at: Timestamp
    duration_ms: int | None


class RunDetailView(RunView):
    """A run with all that is known of it."""

    logs: list[LogLineView] = Field(description="The last 1,000 lines, oldest first.")
    logs_dropped: int = Field(description="Lines that the log's limit did not let in.")
    tool_calls: list[ToolCallView]
    approvals: list[ApprovalView]
    artifacts: list[ArtifactView]
    feedback_count: int
    can_replay: bool


def run_summary(run: RunSummary) -> RunSummaryView:
    """Return what a list shows of a run."""
    return RunSummaryView.model_validate(run)


def run_view(run: RunRecord, content: ContentStore, masks: Masks) -> RunView:
    """Return a run with its values, secrets masked in them. Blocks."""
    mask = masks.of_run(run)
    outputs = None if run.outputs is None else json.loads(content.load_json(run.outputs))
    inputs = json.loads(content.load_json(run.inputs))
    return RunView(
        **dict(run_summary(run)),
        inputs=mask.json(inputs),
        outputs=mask.json(outputs),
        cancel_requested_at=run.cancel_requested_at,
    )


def artifact_view(artifact: Artifact) -> ArtifactView:
    """Return an artifact with its address."""
    return ArtifactView(
        id=artifact.id,
        name=artifact.name,
        path=artifact.path,
        media_type=artifact.media_type,
        size=artifact.size,
        sha256=artifact.sha256,
        url=f"/runs/{artifact.run_id}/artifacts/{quote(artifact.name)}",
    )


def log_lines(lines: list[LogLine]) -> list[LogLineView]:
    """Return log lines as the API shows them."""
    return [LogLineView.model_validate(line) for line in lines]
