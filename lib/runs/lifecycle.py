"""What callers do with runs: start, cancel, replay.

Everything is decided before anything is written: a refused call leaves nothing
behind. The run, its first event and the claim of an idempotency key are one
transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from lib.clock import Clock
from lib.errors import Conflict, Invalid
from lib.ids import Ids
from lib.manifest.inputs import RESERVED_INPUTS
from lib.manifest.models import Manifest
from lib.runs import state
from lib.runs.catalogue import Catalogue, Entry, WorkerBroken
from lib.runs.collection import canonical
from lib.runs.executor import Slot
from lib.runs.inputs import FileInputs, resolve_inputs
from lib.runs.key_use import KeyUse
from lib.runs.signals import Bell, RunSignals
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.content import ContentStore
from lib.storage.ports import ApprovalStore, Creation, RunStore, UploadNotFound, UploadStore
from lib.storage.records import Phase, Ruling, RunChange, RunPolicy, RunRecord, RunStatus, Trigger
from lib.workspace.errors import ObjectNotFound
from lib.workspace.registry import Registry, Worker

DEFAULT_PRIORITY: Final = 5


class MissingSecret(Invalid):
    """A declared secret has no stored value."""

    code = "missing_secret"


class MissingConnection(Invalid):
    """A declared app has no active connection."""

    code = "missing_connection"


class ReplayConflict(Conflict):
    """The run cannot be replayed."""

    code = "replay_conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """A run that somebody or something wants.

    Attributes:
        run_id: Its id, for who listens for it before it exists; None: any.
    """

    worker_id: str
    inputs: Mapping[str, Any]
    trigger: Trigger
    priority: int = DEFAULT_PRIORITY
    parent_run_id: str | None = None
    key: KeyUse[RunRecord] | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What a run keeps of its worker, whatever becomes of it later."""

    worker: Worker
    commit: str
    manifest: Manifest
    inputs: Mapping[str, Any]


class _ProposedMeanwhile(Exception):
    """The run began to wait for an approval after it was read."""


class Runner(Protocol):
    """Whoever executes runs in this process."""

    def slot(self, run: RunRecord) -> AbstractContextManager[Slot | None]:
        """Keep room for a run while it is created; None: there is none."""
        ...

    def cancel(self, run_id: str) -> None:
        """End the process tree of a run if it runs here."""
        ...


class Lifecycle:
    """Starts, cancels and replays runs.

    Args:
        bell: Rung when a run may be claimed.
        runner: Takes new runs at once where it can, and ends process trees.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        registry: Registry,
        store: RunStore,
        approvals: ApprovalStore,
        uploads: UploadStore,
        content: ContentStore,
        clock: Clock,
        ids: Ids,
        bell: Bell,
        signals: RunSignals,
        runner: Runner,
    ) -> None:
        self._catalogue = catalogue
        self._registry = registry
        self._store = store
        self._approvals = approvals
        self._files = FileInputs(uploads, content)
        self._content = content
        self._clock = clock
        self._ids = ids
        self._bell = bell
        self._signals = signals
        self._runner = runner

    def new_id(self) -> str:
        """Return an id for `StartRequest.run_id`."""
        return self._ids.new("run")

    def start(self, request: StartRequest) -> Creation:
        """Queue a new run of a worker's current tree.

        Raises:
            WorkerNotFound, WorkerBroken, WorkerDisabled, Invalid, MissingSecret,
            MissingConnection, IdempotencyKeyReused, ConcurrencyReached: in this
            order; nothing is written then.
        """
        if request.key is not None:  # a repetition is answered whatever became of the worker
            answer = self._store.find_answer(
                request.key.scope, request.key.body_digest, now=self._clock.now()
            )
            if answer is not None:
                return Creation(None, answer)
        entry, manifest = self._catalogue.get_runnable(request.worker_id)
        values = resolve_inputs(manifest, request.inputs, entry.settings.saved_inputs)
        require_nothing_missing(entry)
        return self._create(request, _Frozen(entry.worker, entry.commit, manifest, values))

    def replay(self, run_id: str, *, latest: bool, by: str) -> RunRecord:
        """Queue a new run with the same inputs, at the same tree or the current one.

        At the same tree its manifest decides, whatever became of the worker since:
        edited, broken, deleted. Only a disabled or archived one is refused.

        Raises:
            RunNotFound: there is no such run.
            ReplayConflict: the run's tree, or its manifest, cannot be read any more.
            WorkerDisabled, Invalid, MissingSecret, MissingConnection, ConcurrencyReached:
                as for a start; with `latest` also WorkerNotFound, WorkerBroken.
        """
        old = self._store.get(run_id)
        entry, manifest = (
            self._catalogue.get_runnable(old.worker_id) if latest else self._at_its_tree(old)
        )
        given = {
            name: value
            for name, value in json.loads(self._content.load_json(old.inputs)).items()
            if name not in RESERVED_INPUTS
        }
        values = resolve_inputs(manifest, given, {})
        require_nothing_missing(entry)
        request = StartRequest(
            worker_id=old.worker_id,
            inputs=values,
            trigger=Trigger("replay", old.id, by),
            priority=old.priority,
            parent_run_id=old.id,
        )
        frozen = _Frozen(entry.worker, entry.commit, manifest, values)
        created = self._create(request, frozen).run
        assert created is not None  # noqa: S101 - only a key's replay has none
        return created

    def _at_its_tree(self, run: RunRecord) -> tuple[Entry, Manifest]:
        try:
            return self._catalogue.get_runnable_at(run)
        except (ObjectNotFound, WorkerBroken):
            raise ReplayConflict(f"The worker of run {run.id} can no longer be read.") from None

    def can_replay(self, run: RunRecord) -> bool:
        """Whether the tree that the run executed can still be read."""
        try:
            loaded = self._registry.loaded_at(run.worker_id, run.worker_sha)
        except ObjectNotFound:
            return False
        return loaded.manifest is not None and not loaded.errors

    def cancel(self, run_id: str) -> RunRecord:
        """End a run: at once where no process runs, else its process tree first.

        Raises:
            RunNotFound, RunStateConflict: it has ended already.
        """
        try:
            run = self._cancel(run_id)
        except _ProposedMeanwhile:  # now there is an approval, and no process
            run = self._cancel(run_id)
        if run.status is RunStatus.RUNNING:
            self._runner.cancel(run_id)
        self._signals.notify(run_id)
        return run

    def _cancel(self, run_id: str) -> RunRecord:
        """Record a cancel, and that of the approval that the run waits for."""
        if self._store.get(run_id).status is RunStatus.PENDING_APPROVAL:
            pending = [each for each in self._approvals.list_of_run(run_id) if each.is_pending]
            for approval in pending:
                self._cancel_with(approval.id)
            if pending:  # else somebody decided just now, and the run is no longer what it was
                return self._store.get(run_id)
        now = self._clock.now()

        def decide(run: RunRecord) -> RunChange:
            if run.status is RunStatus.PENDING_APPROVAL:
                raise _ProposedMeanwhile
            return state.transition(run, state.CancelRequested(), now)

        return self._store.change(run_id, decide)

    def _cancel_with(self, approval_id: str) -> None:
        now = self._clock.now()

        def judge(run: RunRecord, approval: Approval) -> Ruling:
            change = state.transition(run, state.CancelRequested(), now)
            cancelled = replace(approval, status=ApprovalStatus.CANCELLED, decided_at=now)
            return Ruling(state.with_approval(change, cancelled, now))

        self._approvals.decide(approval_id, judge, now=now)

    def _new_run(self, request: StartRequest, frozen: _Frozen) -> RunRecord:
        now = self._clock.now()
        uploads = self._files.check(frozen.manifest, frozen.inputs, now=now)
        run_id = request.run_id or self.new_id()
        manifest = frozen.manifest
        phase = Phase.PROPOSE if manifest.approvals else None
        inputs = {**frozen.inputs, "decision": "proposed"} if phase else frozen.inputs
        return RunRecord(
            id=run_id,
            worker_id=frozen.worker.id,
            worker_sha=frozen.worker.sha,
            commit=frozen.commit,
            status=RunStatus.QUEUED,
            phase=phase,
            trigger=request.trigger,
            priority=request.priority,
            parent_run_id=request.parent_run_id,
            created_at=now,
            queued_at=now,
            inputs=self._content.store_json(canonical(inputs)),
            effect_key=run_id,
            manifest_digest=frozen.worker.loaded.digest,
            policy=RunPolicy(
                manifest.limits,
                manifest.retry,
                manifest.concurrency,
                manifest.approvals,
                manifest.issue_on_failure,
            ),
            uploads=uploads,
        )

    def _create(self, request: StartRequest, frozen: _Frozen) -> Creation:
        change = state.first_change(self._new_run(request, frozen))
        key, now = request.key, change.run.created_at
        claim = None if key is None else key.claim(change.run, now=now)
        with self._runner.slot(change.run) as slot:
            try:
                if slot is None:
                    creation = self._store.create(change, claim=claim)
                else:
                    creation = self._store.create(
                        change, claim=claim, start=slot.start, meanwhile=slot.prepare
                    )
            except UploadNotFound:  # it went since it was checked: say so as the check does
                self._files.check(frozen.manifest, frozen.inputs, now=self._clock.now())
                raise
            if slot is not None and creation.started is not None:
                slot.begin()
        if creation.run is not None and creation.started is None:
            self._bell.ring()
        return creation


def require_nothing_missing(entry: Entry) -> None:
    """Check what a run of this worker would need. Raises MissingSecret, MissingConnection."""
    if entry.missing_secrets:
        names = ", ".join(entry.missing_secrets)
        raise MissingSecret(f"Store the secrets that {entry.worker.id} declares first: {names}.")
    if entry.missing_connections:
        apps = ", ".join(entry.missing_connections)
        raise MissingConnection(f"Connect the apps that {entry.worker.id} declares first: {apps}.")
