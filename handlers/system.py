"""The server itself: health, and the workspace at a glance."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from handlers.run_views import RunSummaryView, run_summary
from handlers.worker_views import rate
from lib import metrics
from lib.bootstrap import Services, lambda_handler
from lib.overview import AttentionKind, Overview
from lib.sandbox.port import SandboxMode
from lib.storage.ports import StoreUnavailable
from lib.version import VERSION
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.media import Media
from lib.web.models import ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "System"


class HealthView(ResponseModel):
    """Whether the server can do its work."""

    status: Literal["ok", "unavailable"]
    version: str
    checks: dict[str, Literal["ok", "failed"]]
    details: dict[str, str] = Field(
        description="Of a check that failed, the code of its error: see /problems."
    )


class StatsView(ResponseModel):
    """Counters of the workspace."""

    runs_24h: int
    runs_by_hour: list[int] = Field(
        min_length=24, max_length=24, description="Runs of each of the last 24 hours, oldest first."
    )
    success_rate_7d: float | None = Field(description="Completed among completed and failed.")
    running: int
    queued: int
    pending_approvals: int
    active_workers: int
    connections_healthy: int
    connections_total: int
    next_fire_at: Timestamp | None


class ScheduledView(ResponseModel):
    """A run that the clock will start."""

    worker_id: str
    title: str
    cron: str
    timezone: str
    fires_at: Timestamp


class AttentionView(ResponseModel):
    """Something that somebody should look at."""

    kind: AttentionKind
    message: str
    action_url: str
    worker_id: str | None


class GitRemoteView(ResponseModel):
    """How the workspace and its git remote stand."""

    url: str = Field(description="Without credentials.")
    ahead: int | None = Field(description="Commits that the remote's main has not.")
    last_error: str | None
    last_pushed_at: Timestamp | None
    diverged_branch: str | None = Field(
        description="The remote's branch with our commits, while its main went another way."
    )


class BundleSyncView(ResponseModel):
    """How the workspace and its bundle store stand."""

    store: str
    seq: int | None = Field(description="Moves of the pointer so far; null before it was read.")
    increments: int = Field(description="Bundles on top of the base.")
    bytes: int = Field(description="Of all that a restore reads.")
    published: int = Field(description="Bundles of commits that this server has published.")
    published_bytes: int
    last_published_at: Timestamp | None
    last_error: str | None = Field(description="Nothing can be committed while there is one.")
    failing_since: Timestamp | None


class OverviewView(ResponseModel):
    """The workspace at a glance."""

    stats: StatsView
    recent_runs: list[RunSummaryView]
    scheduled_next_24h: list[ScheduledView] = Field(
        description="In order; the next slot of every schedule, and further ones as there is room."
    )
    needs_attention: list[AttentionView]
    git_remote: GitRemoteView | None = Field(description="Null where none is set.")
    bundle_sync: BundleSyncView | None = Field(description="Null where no store is set.")
    generated_at: Timestamp


class PropertiesView(ResponseModel):
    """The mechanism that holds each property of isolation, or `none`."""

    files: str
    network: str
    processes: str
    privileges: str
    limits: str


class MechanismView(ResponseModel):
    """One mechanism of the kernel, tried."""

    name: str
    works: bool
    reason: str | None = Field(description="Why it does not work.")


class SandboxView(ResponseModel):
    """How workers are isolated on this host."""

    mode: SandboxMode = Field(description="The setting FLOOM_SANDBOX, or its default.")
    whole: bool = Field(description="Whether all five properties are held.")
    properties: PropertiesView
    mechanisms: list[MechanismView]


class Health:
    """For load balancers and people who wonder."""

    def __init__(self, services: Services) -> None:
        self._runs = services.runs
        self._bundles = services.bundle_state

    @operation(
        "getHealth",
        access=Access.PUBLIC,
        summary="Whether the server works",
        responses={200: HealthView, 503: HealthView},
    )
    async def on_get(self, _call: Call[None, None]) -> Reply:
        """503 when the store cannot be written.

        Where only the bundle store fails, runs go on and nothing can be committed: 200.
        """
        try:
            await blocking(self._runs.check)
        except StoreUnavailable as error:
            view = HealthView(
                status="unavailable",
                version=VERSION,
                checks={"store": "failed"},
                details={"store": error.code},
            )
            return Reply(view, 503)
        checks: dict[str, Literal["ok", "failed"]] = {"store": "ok"}
        details: dict[str, str] = {}
        bundles = self._bundles()
        if bundles is not None:
            checks["bundle_store"] = "ok" if bundles.last_code is None else "failed"
        if bundles is not None and bundles.last_code is not None:
            details["bundle_store"] = bundles.last_code
        return Reply(HealthView(status="ok", version=VERSION, checks=checks, details=details))


class SandboxProbe:
    """What isolates workers on this host."""

    def __init__(self, services: Services) -> None:
        self._sandbox = services.sandbox

    @operation(
        "getSandbox",
        access=Access.MEMBER,
        summary="What isolates workers here",
        responses={200: SandboxView},
    )
    async def on_get(self, _call: Call[None, None]) -> SandboxView:
        """As the server's probe found it when it last started the zygote, from which workers are forked."""
        report = await blocking(self._sandbox.inspect)
        tried = [
            MechanismView(name=name, works=not why, reason=why or None)
            for name, why in report.mechanisms.items()
        ]
        return SandboxView(
            mode=report.mode,
            whole=report.is_whole,
            properties=PropertiesView.model_validate(report.holds),
            mechanisms=tried,
        )


class Metrics:
    """For monitors."""

    def __init__(self, services: Services) -> None:
        self._overview = services.overview

    @operation(
        "getMetrics",
        access=Access.ADMIN,
        summary="Metrics in the text form of Prometheus",
        responses={200: Media(metrics.MEDIA_TYPE)},
    )
    async def on_get(self, _call: Call[None, None]) -> Reply:
        """Computed when they are asked for, from counters."""
        found = await blocking(self._overview.read)
        text = await blocking(metrics.exposition, found)
        return Reply(text, 200, {"cache-control": "no-store"}, media_type=metrics.MEDIA_TYPE)


class SystemOverview:
    """Counters, what is due, what needs attention."""

    def __init__(self, services: Services) -> None:
        self._overview = services.overview
        self._clock = services.clock

    @operation(
        "getOverview",
        access=Access.MEMBER,
        summary="The workspace at a glance",
        responses={200: OverviewView},
    )
    async def on_get(self, _call: Call[None, None]) -> OverviewView:
        """From counters and indexes; it costs the same with a million runs."""
        overview = await blocking(self._overview.read)
        return _view(overview, self._clock.now())


def _view(overview: Overview, now: datetime) -> OverviewView:
    return OverviewView(
        stats=_stats(overview),
        recent_runs=[run_summary(run) for run in overview.recent_runs],
        scheduled_next_24h=[ScheduledView.model_validate(each) for each in overview.scheduled],
        git_remote=overview.git_remote and GitRemoteView.model_validate(overview.git_remote),
        bundle_sync=overview.bundles and BundleSyncView.model_validate(overview.bundles),
        needs_attention=[AttentionView.model_validate(each) for each in overview.attention],
        generated_at=now,
    )


def _stats(overview: Overview) -> StatsView:
    totals = overview.totals
    return StatsView(
        runs_24h=sum(totals.by_hour),
        runs_by_hour=list(totals.by_hour),
        success_rate_7d=rate(totals.succeeded_7d, totals.finished_7d),
        running=totals.running,
        queued=totals.queued,
        pending_approvals=totals.pending_approval,
        active_workers=overview.active_workers,
        connections_healthy=0,
        connections_total=0,
        next_fire_at=overview.next_fire_at,
    )


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [
        Route("/healthz", Health(services), tag=TAG),
        Route("/system/overview", SystemOverview(services), tag=TAG),
        Route("/system/sandbox", SandboxProbe(services), tag=TAG),
        Route("/metrics", Metrics(services), tag=TAG),
    ]


handler = lambda_handler(routes)
