"""The workers as this server sees them: what git holds, and what it takes to run one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lib.clock import Clock
from lib.errors import Conflict
from lib.manifest.models import Manifest
from lib.manifest.triggers import ScheduleTrigger
from lib.storage.ports import RunStore, SecretStore, WorkerSettingsStore
from lib.storage.records import RunSummary, WorkerFacts, WorkerSettings
from lib.workspace.registry import Registry, Snapshot, Worker
from lib.workspace.worker_source import WorkerNotFound

WorkerStatus = Literal[
    "error", "archived", "disabled", "paused", "missing_secret", "missing_connection", "blocked",
    "needs_attention", "ready", "healthy",
]  # fmt: skip

FAILURES_THAT_NEED_ATTENTION: Final = 3


class WorkerBroken(Conflict):
    """The worker's manifest does not load."""

    code = "worker_broken"


class WorkerDisabled(Conflict):
    """The worker is disabled, archived or quarantined."""

    code = "worker_disabled"


@dataclass(frozen=True)
class Entry:
    """One worker with all that decides its status.

    Attributes:
        commit: The commit that the worker was read from.
        missing_inputs: Required inputs without default or saved value.
        missing_connections: Slugs of apps without an active connection.
    """

    worker: Worker
    commit: str
    settings: WorkerSettings
    facts: WorkerFacts
    missing_secrets: tuple[str, ...]
    missing_connections: tuple[str, ...]
    missing_inputs: tuple[str, ...]

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, or None when nothing of it could be read."""
        return self.worker.loaded.manifest

    @property
    def is_broken(self) -> bool:
        """Whether the manifest has errors."""
        return self.manifest is None or bool(self.worker.loaded.errors)

    @property
    def enabled(self) -> bool:
        """Whether runs may start."""
        return self.settings.enabled and not self.worker.quarantined

    @property
    def status(self) -> WorkerStatus:
        """The first status that holds, in the order of api.md section 2."""
        manifest = self.manifest
        if manifest is None or self.is_broken:
            return "error"
        checks: tuple[tuple[WorkerStatus, bool], ...] = (
            ("archived", manifest.archived),
            ("disabled", not self.enabled),
            ("paused", manifest.paused),
            ("missing_secret", bool(self.missing_secrets)),
            ("missing_connection", bool(self.missing_connections)),
            ("blocked", _is_blocked(manifest, self.missing_inputs)),
            ("needs_attention", self.facts.failure_streak >= FAILURES_THAT_NEED_ATTENTION),
            ("ready", self.facts.last_run is None),
        )
        return next((status for status, holds in checks if holds), "healthy")

    @property
    def is_active(self) -> bool:
        """Whether nothing keeps its triggers from starting runs."""
        return self.status in _ACTIVE


_ACTIVE: Final = frozenset[WorkerStatus]({"needs_attention", "ready", "healthy"})


class Catalogue:
    """Lists workers and finds one; reads afresh each time, from caches that follow the tip.

    Args:
        registry: The workers of the workspace's tip.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        settings: WorkerSettingsStore,
        secrets: SecretStore,
        runs: RunStore,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._secrets = secrets
        self._runs = runs
        self._clock = clock

    def snapshot(self) -> Snapshot:
        """Return the workers of the present tip, without what the instance adds."""
        return self._registry.current()

    def list(self) -> list[Entry]:
        """Return every worker, by id."""
        snapshot = self.snapshot()
        facts = _Facts(
            self._settings.get_all(),
            self._runs.worker_facts(now=self._clock.now()),
            self._secret_names(),
        )
        workers = sorted(snapshot.workers.items())
        return [_entry(snapshot.commit, worker, facts) for _, worker in workers]

    def get(self, worker_id: str) -> Entry:
        """Return one worker. Raises WorkerNotFound."""
        facts = self._runs.find_worker_facts(worker_id, now=self._clock.now())
        return self._entry(worker_id, facts)

    def _entry(self, worker_id: str, facts: WorkerFacts | None) -> Entry:
        snapshot = self.snapshot()
        worker = snapshot.workers.get(worker_id)
        if worker is None:
            raise WorkerNotFound(f"There is no worker {worker_id}; GET /workers lists them.")
        return _entry(snapshot.commit, worker, self._known(worker_id, facts))

    def _known(self, worker_id: str, facts: WorkerFacts | None) -> _Facts:
        return _Facts(
            {worker_id: self._settings.get(worker_id)},
            {} if facts is None else {worker_id: facts},
            self._secret_names(),
        )

    def get_runnable(self, worker_id: str) -> tuple[Entry, Manifest]:
        """Return a worker that may be started, and its manifest.

        Raises:
            WorkerNotFound, WorkerBroken, WorkerDisabled: in this order.
        """
        entry = self._entry(worker_id, None)  # no counter decides whether it may run
        manifest = _require_whole(entry)
        _require_enabled(entry, archived=manifest.archived)
        return entry, manifest

    def get_runnable_at(self, run: RunSummary) -> tuple[Entry, Manifest]:
        """Return a worker as a run had it, if that may be started, and its manifest there.

        The tree's manifest says what it needs. The present says what is
        disabled, archived or stored; the worker may be broken or deleted there.

        Raises:
            ObjectNotFound: the repository has no such tree any more.
            WorkerBroken, WorkerDisabled: in this order.
        """
        worker = self._registry.worker_at(run.worker_id, run.worker_sha)
        entry = _entry(run.commit, worker, self._known(run.worker_id, None))
        manifest = _require_whole(entry)
        present = self.snapshot().workers.get(run.worker_id)
        present_manifest = present.loaded.manifest if present else None
        archived = (present_manifest or manifest).archived
        _require_enabled(entry, archived=archived)
        return entry, manifest

    def _secret_names(self) -> frozenset[str]:
        return frozenset(secret.name for secret in self._secrets.list())


def _require_whole(entry: Entry) -> Manifest:
    manifest, worker_id = entry.manifest, entry.worker.id
    if manifest is None or entry.is_broken:
        raise WorkerBroken(
            f"The manifest of {worker_id} has errors; GET /workers/{worker_id} lists them."
        )
    return manifest


def _require_enabled(entry: Entry, *, archived: bool) -> None:
    worker_id = entry.worker.id
    if archived:
        raise WorkerDisabled(f"Worker {worker_id} is archived; set archived: false to run it.")
    if not entry.enabled:
        raise WorkerDisabled(f"Worker {worker_id} is disabled; enable it to run it.")


def _is_blocked(manifest: Manifest, missing: tuple[str, ...]) -> bool:
    """Whether a schedule of the worker gives too few inputs to start a run."""
    schedules = [each for each in manifest.triggers if isinstance(each, ScheduleTrigger)]
    return any(name not in schedule.inputs for schedule in schedules for name in missing)


@dataclass(frozen=True)
class _Facts:
    """What the instance knows beside git."""

    settings: Mapping[str, WorkerSettings]
    runs: Mapping[str, WorkerFacts]
    secret_names: frozenset[str]


def _entry(commit: str | None, worker: Worker, facts: _Facts) -> Entry:
    manifest = worker.loaded.manifest
    own = facts.settings.get(worker.id, WorkerSettings())
    return Entry(
        worker=worker,
        commit=commit or "",
        settings=own,
        facts=facts.runs.get(worker.id, WorkerFacts()),
        missing_secrets=_missing_secrets(manifest, facts.secret_names),
        missing_connections=_missing_connections(manifest),
        missing_inputs=_missing_inputs(manifest, own),
    )


def _missing_secrets(manifest: Manifest | None, stored: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in manifest.secrets if name not in stored) if manifest else ()


def _missing_connections(manifest: Manifest | None) -> tuple[str, ...]:
    """Connections cannot be stored yet, so every declared app is missing."""
    if manifest is None:
        return ()
    apps = (getattr(connection, "app", None) for connection in manifest.connections)
    return tuple(dict.fromkeys(app for app in apps if app))


def _missing_inputs(manifest: Manifest | None, settings: WorkerSettings) -> tuple[str, ...]:
    if manifest is None:
        return ()
    return tuple(
        spec.name
        for spec in manifest.inputs
        if spec.must_be_given and settings.saved_inputs.get(spec.name) is None
    )
