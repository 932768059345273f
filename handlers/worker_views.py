"""Workers as the API shows them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from handlers.run_views import RunSummaryView, run_summary
from lib.bootstrap import Services
from lib.manifest.models import Manifest
from lib.manifest.report import Problem
from lib.manifest.schedule import next_fire_at
from lib.manifest.triggers import ScheduleTrigger
from lib.runs.catalogue import Entry, WorkerStatus
from lib.storage.records import RunStatus
from lib.web.models import ResponseModel, Timestamp
from lib.workspace import git_paths
from lib.workspace.workspace import BundleFile

RECENT_RUNS: Final = 10
MANIFEST_FILE: Final = "worker.yml"
SNIFFED_BYTES: Final = 8_000  # as git does: a file with a zero byte in its start is binary


class TriggerView(ResponseModel):
    """What starts runs of a worker."""

    type: str
    label: str | None
    cron: str | None
    timezone: str | None
    next_fire_at: Timestamp | None = Field(
        description="Null also where the worker's status keeps its triggers from starting runs."
    )


class LastRunView(ResponseModel):
    """A worker's newest run."""

    id: str
    status: RunStatus
    created_at: Timestamp
    duration_ms: int | None


class StatsView(ResponseModel):
    """The last seven days; the rate is of completed among completed and failed."""

    runs_7d: int
    success_rate_7d: float | None


class WorkerSummaryView(ResponseModel):
    """What lists show of a worker."""

    id: str
    title: str
    description: str
    version: str | None
    mode: Literal["script", "agent"] | None
    runtime: str | None
    status: WorkerStatus
    trigger_type: str
    triggers: list[TriggerView]
    tags: list[str]
    folder: str | None
    visibility: Literal["private", "workspace"]
    archived: bool
    enabled: bool
    requires_approval: bool
    missing_secrets: list[str]
    missing_connections: list[str]
    missing_inputs: list[str]
    last_run: LastRunView | None
    stats: StatsView
    updated_at: Timestamp
    sha: str = Field(description="Tree id of the worker's folder.")


class FindingView(ResponseModel):
    """A problem of a manifest."""

    path: str = Field(examples=["workers/hello-worker/worker.yml"])
    pointer: str = Field(description="JSON Pointer into the manifest.")
    line: int | None = Field(description="1-based.")
    code: str
    message: str


class WorkerFileView(ResponseModel):
    """A file of a worker's folder."""

    path: str
    size: int
    binary: bool
    sha256: str


class WorkerView(WorkerSummaryView):
    """Everything about a worker."""

    long_description: str | None
    use_cases: list[str]
    how_it_works: str | None
    example_input: dict[str, Any]
    example_output: Any
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    secrets: list[str]
    connections: list[dict[str, Any]]
    contexts: list[dict[str, Any]]
    limits: dict[str, Any] | None
    capabilities: dict[str, Any] | None
    approvals: dict[str, Any] | None
    saved_inputs: dict[str, Any]
    errors: list[FindingView]
    warnings: list[FindingView]
    files: list[WorkerFileView]
    recent_runs: list[RunSummaryView]
    webhook_url: str | None = Field(description="Shown to administrators.")


def worker_summary(entry: Entry, now: datetime) -> WorkerSummaryView:
    """Return what a list shows of a worker, also of one whose manifest does not load."""
    return WorkerSummaryView(**_summary_fields(entry, now))


def worker_view(
    entry: Entry, files: tuple[BundleFile, ...], recent_runs: list[RunSummaryView], now: datetime
) -> WorkerView:
    """Return a worker with its manifest, files and newest runs."""
    return WorkerView(
        **_summary_fields(entry, now),
        **_manifest_fields(entry.manifest),
        saved_inputs=entry.settings.saved_inputs,
        errors=[finding(entry.worker.id, each) for each in entry.worker.loaded.errors],
        warnings=[finding(entry.worker.id, each) for each in entry.worker.loaded.warnings],
        files=[_file(file) for file in files],
        recent_runs=recent_runs,
        webhook_url=None,
    )


def load_worker_view(services: Services, worker_id: str) -> WorkerView:
    """Read a worker as it is now. Raises WorkerNotFound."""
    entry = services.catalogue.get(worker_id)
    files = services.workspace.bundle(entry.worker.sha)
    runs = services.runs.list_worker_runs(worker_id, limit=RECENT_RUNS)
    return worker_view(entry, files, [run_summary(run) for run in runs], services.clock.now())


def finding(worker_id: str, problem: Problem) -> FindingView:
    """Return a problem with the file it is in."""
    return FindingView(
        path=f"workers/{worker_id}/{MANIFEST_FILE}",
        pointer=problem.pointer,
        line=problem.line,
        code=problem.code,
        message=problem.message,
    )


def _summary_fields(entry: Entry, now: datetime) -> dict[str, Any]:
    manifest, worker, facts = entry.manifest, entry.worker, entry.facts
    fires_after = now if entry.is_active else None
    triggers = [_trigger(each, fires_after) for each in manifest.triggers] if manifest else []
    return {
        "id": worker.id,
        "title": worker.loaded.title,
        "description": manifest.description if manifest else "",
        "version": manifest.version if manifest else None,
        "mode": manifest.mode if manifest else None,
        "runtime": manifest.runtime if manifest else None,
        "status": entry.status,
        "trigger_type": triggers[0].type if triggers else "manual",
        "triggers": triggers,
        "tags": list(manifest.tags) if manifest else [],
        "folder": manifest.folder if manifest else None,
        "visibility": manifest.visibility if manifest else "workspace",
        "archived": bool(manifest and manifest.archived),
        "enabled": entry.enabled,
        "requires_approval": bool(manifest and manifest.requires_approval),
        "missing_secrets": list(entry.missing_secrets),
        "missing_connections": list(entry.missing_connections),
        "missing_inputs": list(entry.missing_inputs),
        "last_run": None if facts.last_run is None else LastRunView.model_validate(facts.last_run),
        "stats": StatsView(
            runs_7d=facts.runs_7d,
            success_rate_7d=rate(facts.succeeded_7d, facts.finished_7d),
        ),
        "updated_at": worker.updated_at,
        "sha": worker.sha,
    }


def rate(part: int, whole: int) -> float | None:
    """Return a share between 0 and 1, rounded; None where there is nothing to share."""
    return round(part / whole, 4) if whole else None


def _trigger(trigger: Any, after: datetime | None) -> TriggerView:
    """Return a trigger; `after` is None where it starts nothing."""
    if not isinstance(trigger, ScheduleTrigger):
        return TriggerView(
            type=trigger.type, label=trigger.label, cron=None, timezone=None, next_fire_at=None
        )
    return TriggerView(
        type=trigger.type,
        label=trigger.label,
        cron=trigger.cron,
        timezone=trigger.timezone,
        next_fire_at=after and next_fire_at(trigger.cron, trigger.timezone, after),
    )


def _manifest_fields(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return _NO_MANIFEST
    shown = manifest.model_dump(mode="json", include=_SHOWN)
    egress = manifest.egress.model_dump(mode="json")
    return {
        **shown,
        "capabilities": {"network": {"egress": egress}, "secrets": list(manifest.secrets)},
    }


_SHOWN: Final = {
    "long_description", "use_cases", "how_it_works", "example_input", "example_output", "inputs",
    "outputs", "secrets", "connections", "contexts", "limits", "approvals",
}  # fmt: skip
_NO_MANIFEST: Final[dict[str, Any]] = {
    **dict.fromkeys(("long_description", "how_it_works", "example_output", "limits")),
    **dict.fromkeys(("capabilities", "approvals")),
    "use_cases": [],
    "example_input": {},
    "inputs": [],
    "outputs": [],
    "secrets": [],
    "connections": [],
    "contexts": [],
}


def _file(file: BundleFile) -> WorkerFileView:
    return WorkerFileView(
        path=git_paths.shown(file.path),
        size=len(file.data),
        binary=b"\0" in file.data[:SNIFFED_BYTES],
        sha256=hashlib.sha256(file.data).hexdigest(),
    )
