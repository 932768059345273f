"""What `/system/overview` shows: counters, what is due, what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from lib.clock import Clock
from lib.ids import is_addressable
from lib.manifest.schedule import next_fire_at
from lib.manifest.triggers import ScheduleTrigger
from lib.runs.catalogue import Catalogue, Entry
from lib.sandbox.port import HostReport, Sandbox
from lib.storage.ports import RunStore
from lib.storage.records import RunQuery, RunSummary, RunTotals
from lib.workspace.bundle_sync import BundleState
from lib.workspace.remote.remote_sync import RemoteState

RECENT_RUNS: Final = 10
MAX_SCHEDULED: Final = 200  # unless there are more schedules: the next slot of each is shown
MAX_PER_SCHEDULE: Final = 24
HORIZON: Final = timedelta(hours=24)

AttentionKind = Literal[
    "failing", "missing_secret", "missing_connection", "blocked", "disabled", "manifest_error",
    "sandbox_degraded", "git_remote", "bundle_sync_behind",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that somebody should look at."""

    kind: AttentionKind
    message: str
    action_url: str
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A slot in the next 24 hours."""

    worker_id: str
    title: str
    cron: str
    timezone: str
    fires_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at the whole workspace."""

    totals: RunTotals
    active_workers: int
    recent_runs: tuple[RunSummary, ...]
    scheduled: tuple[Scheduled, ...]
    attention: tuple[Attention, ...]
    git_remote: RemoteState | None = None
    bundles: BundleState | None = None

    @property
    def next_fire_at(self) -> datetime | None:
        """When the clock next starts a run."""
        return self.scheduled[0].fires_at if self.scheduled else None


class OverviewReader:
    """Reads an overview from counters and the registry; never scans runs."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        runs: RunStore,
        clock: Clock,
        sandbox: Sandbox,
        remote: Callable[[], RemoteState | None] = lambda: None,
        bundles: Callable[[], BundleState | None] = lambda: None,
    ) -> None:
        self._catalogue = catalogue
        self._runs = runs
        self._clock = clock
        self._sandbox = sandbox
        self._remote = remote
        self._bundles = bundles

    def read(self) -> Overview:
        """Return the workspace as it is now."""
        now = self._clock.now()
        remote, bundles = self._remote(), self._bundles()
        entries = self._catalogue.list()
        attention = [each for entry in entries for each in _attention(entry)]
        return Overview(
            totals=self._runs.totals(now=now),
            active_workers=sum(entry.is_active for entry in entries),
            recent_runs=self._runs.list(RunQuery(), limit=RECENT_RUNS).rows,
            scheduled=_scheduled(entries, now),
            attention=(
                *_sandbox_attention(self._sandbox.inspect()),
                *_bundle_attention(bundles),
                *_remote_attention(remote),
                *attention,
            ),
            git_remote=remote,
            bundles=bundles,
        )


def _scheduled(entries: list[Entry], now: datetime) -> tuple[Scheduled, ...]:
    """Return slots of the next 24 hours in order; where there is no room, some of each schedule."""
    by_turn = sorted(
        (slot for entry in entries for slot in _slots(entry, now)),
        key=lambda each: (each[0], each[1].fires_at, each[1].worker_id),
    )
    next_ones = sum(turn == 0 for turn, _ in by_turn)
    kept = [slot for _, slot in by_turn[: max(MAX_SCHEDULED, next_ones)]]
    return tuple(sorted(kept, key=lambda slot: (slot.fires_at, slot.worker_id)))


def _slots(entry: Entry, now: datetime) -> Iterator[tuple[int, Scheduled]]:
    """Yield the next slots of a worker's schedules, each with its number in its schedule."""
    manifest = entry.manifest
    if manifest is None or not entry.is_active:
        return
    for trigger in manifest.triggers:
        if isinstance(trigger, ScheduleTrigger):
            for turn, at in enumerate(_times(trigger, now)):
                yield (
                    turn,
                    Scheduled(entry.worker.id, manifest.title, trigger.cron, trigger.timezone, at),
                )


def _times(trigger: ScheduleTrigger, now: datetime) -> Iterator[datetime]:
    after = now
    for _ in range(MAX_PER_SCHEDULE):
        at = next_fire_at(trigger.cron, trigger.timezone, after)
        if at is None or at >= now + HORIZON:
            return
        yield at
        after = at


def _attention(entry: Entry) -> Iterator[Attention]:
    worker_id = entry.worker.id
    # One that no path leads to is found in the list.
    url = f"/workers/{worker_id}" if is_addressable(worker_id) else "/workers?status=error"

    def attention(kind: AttentionKind, message: str) -> Attention:
        return Attention(kind, message, url, worker_id)

    match entry.status:
        case "error":
            first = next(iter(entry.worker.loaded.errors), None)
            reason = first.message if first else "the manifest cannot be read"
            yield attention("manifest_error", f"{worker_id} does not load: {reason}")
        case "disabled":
            yield attention("disabled", f"{worker_id} is disabled.")
        case "missing_secret":
            names = ", ".join(entry.missing_secrets)
            yield attention("missing_secret", f"{worker_id} needs secrets: {names}.")
        case "missing_connection":
            names = ", ".join(entry.missing_connections)
            yield attention("missing_connection", f"{worker_id} needs connections: {names}.")
        case "blocked":
            names = ", ".join(entry.missing_inputs)
            yield attention("blocked", f"{worker_id} is scheduled but lacks inputs: {names}.")
        case "needs_attention":
            count = entry.facts.failure_streak
            yield attention("failing", f"The last {count} runs of {worker_id} failed.")


def _bundle_attention(bundles: BundleState | None) -> Iterator[Attention]:
    if bundles is not None and bundles.last_error is not None:
        yield Attention("bundle_sync_behind", bundles.last_error, "/system/overview")


def _remote_attention(remote: RemoteState | None) -> Iterator[Attention]:
    if remote is None:
        return
    if remote.last_error is not None:
        yield Attention("git_remote", remote.last_error, "/system/overview")
    if remote.diverged_branch is not None:
        message = (
            f"The workspace and main of {remote.url} went different ways. Merge its branch "
            f"{remote.diverged_branch} into main there, with git."
        )
        yield Attention("git_remote", message, "/system/overview")


def _sandbox_attention(report: HostReport) -> Iterator[Attention]:
    if report.is_whole:
        return
    missing = ", ".join(report.missing)
    message = f"Runs are not isolated in: {missing}."
    if report.mode == "require":
        message = f"No run starts: FLOOM_SANDBOX=require, and this host cannot isolate {missing}."
    yield Attention("sandbox_degraded", message, "/system/sandbox")
