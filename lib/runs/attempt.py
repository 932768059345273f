"""One attempt of a run, from its claim to its recorded outcome, on one thread."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from lib.auth.secret_token import SecretToken
from lib.clock import Clock
from lib.environments.environment import Environment
from lib.environments.recipe import InstallCancelled
from lib.log import event
from lib.manifest.models import Manifest
from lib.runs import state
from lib.runs.collection import Collection
from lib.runs.live_log import LiveLog
from lib.runs.masks import mask_error
from lib.runs.preparation import AttemptFolder, Preparation, PreparationError, SecretMissing
from lib.runs.signals import Bell, RunSignals
from lib.sandbox.port import Launch, LiveRun, Sandbox, SandboxUnavailable, Signal
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.ports import LogStore, RunStore, SecretStore, StaleFence, StoreUnavailable
from lib.storage.records import LogLevel, LogLine, RunChange, RunError, RunRecord, RunStatus
from lib.workspace.registry import Registry

log: Final = logging.getLogger(__name__)

Result = TypeVar("Result")

TOKEN_VARIABLES: Final = ("FLOOM_RUN_TOKEN", "WORKEROS_RUN_TOKEN")
NO_PACKAGES: Final = Environment()
QUICK_SECRETS_CHARACTERS: Final = 16 * 1024
INTERNAL_ERROR: Final = "The server failed to execute this run; see its log."
RECORD_SECONDS: Final = 25.0  # while the lease lasts
END_SECONDS: Final = 4.0  # the supervisor's grace is 3 s; one that a worker stopped takes no orders
RECORD_AGAIN_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 1.0  # an upper bound only: the supervisor says when something happens


@dataclass(frozen=True)
class Collaborators:
    """What every attempt works with.

    Attributes:
        failures: Rung when a run has left a report of its failure.
        record_seconds: How long to try again while the store is down.
    """

    store: RunStore
    logs: LogStore
    secrets: SecretStore
    registry: Registry
    preparation: Preparation
    collection: Collection
    sandbox: Sandbox
    signals: RunSignals
    clock: Clock
    runs_folder: Path
    failures: Bell
    record_seconds: float = RECORD_SECONDS


class Attempt:
    """Executes one claimed run.

    Args:
        run: As the claim left it; its fence is ours.
        token: Which the run presents to the API, minted with the claim; known to its
            supervisor alone once another life of this server has adopted the run.
        adopted: The live run, when an earlier life of this server started it.
        mask: Of an adopted run.
    """

    keeps_log = True  # of an installation that it waits for

    def __init__(
        self,
        run: RunRecord,
        collaborators: Collaborators,
        *,
        token: SecretToken | None = None,
        adopted: LiveRun | None = None,
        mask: Mask = NO_MASK,
    ) -> None:
        self._run = run
        self._tokens = {} if token is None else dict.fromkeys(TOKEN_VARIABLES, token.value)
        self._with = collaborators
        self._folder = AttemptFolder.of(collaborators.runs_folder, run)
        self._lock = threading.Lock()
        self._mask = mask
        self._live = adopted
        self._wanted_end = False
        self._abandoned = False
        self._handed_over = False
        self._deadline = math.inf
        self._was_killed = False
        self._has_settled = False
        self._ahead: LiveRun | None = None  # which has not begun
        self._launch: Launch | None = None  # that it waits for
        self._last_lines: tuple[LogLine, ...] = ()  # recorded with the outcome

    @property
    def run(self) -> RunRecord:
        """The run as it was claimed."""
        return self._run

    def cancel(self) -> None:
        """End the process tree now, or as soon as it exists; from any thread."""
        with self._lock:
            self._wanted_end = True
            self._deadline = min(self._deadline, time.monotonic() + END_SECONDS)
            if self._live is not None:
                self._live.cancel()

    def note(self, level: LogLevel, message: str) -> None:
        """Add a line to the run's log, in order with what it prints; from any thread.

        Raises:
            RunStateConflict: its process does not exist yet, so who says so is not it.
        """
        with self._lock:
            live = self._live
        if live is None:
            raise state.RunStateConflict(f"Run {self._run.id} has no process yet.")
        live.note(level, message)  # which waits: a cancel must not wait for it

    def abandon(self) -> None:
        """End it without an outcome: the lease is somebody else's."""
        self._abandoned = True
        self.cancel()

    def hand_over(self) -> None:
        """Stop watching; the run goes on, or is not started at all."""
        with self._lock:
            self._handed_over = True

    def prepare_ahead(self) -> None:
        """Do what comes before the worker's first step, before the claim is on record.

        Never raises: what cannot be done now, or may take long, is left to `execute`. If
        nothing comes of the claim, `withdraw` is to follow.
        """
        try:
            manifest = self._manifest()
            if manifest is None or not self._with.preparation.is_quick(self._run, manifest):
                return
            secrets = self._take_secrets(manifest)
            if sum(map(len, secrets.values())) > QUICK_SECRETS_CHARACTERS:
                return  # what a socket does not hold waits for who takes it
            launch = self._compose(manifest, secrets, NO_PACKAGES)
            self._folder.create()
            self._ahead = self._with.sandbox.start(launch)  # meanwhile it gets ready, too
            self._with.preparation.fill(self._folder, self._run, manifest, NO_PACKAGES)
            self._launch = launch
        except Exception:  # noqa: BLE001 - `execute` meets it again, and says so
            self._let_go()
            self._ahead = None

    def withdraw(self) -> None:
        """Take back what `prepare_ahead` did. Never raises."""
        self._let_go()
        self._guarded(self._folder.remove)

    def execute(self) -> None:
        """Prepare, start, watch, record. Never raises; `tidy_up` is to follow."""
        try:
            self._settle(self._execute())
        except _HandedOver:
            return
        except StoreUnavailable:
            log.exception("outcome_not_recorded")  # recovery goes on from the folder
        except Exception:
            log.exception("attempt_failed")
            self._settle(self._failed("internal_error", INTERNAL_ERROR))

    def tidy_up(self) -> None:
        """Let the supervisor go, and remove what was left of a run that is on record.

        While it is not, because the store stayed down or the run goes on without us, its
        folder stays, too: recovery collects what is in it. Never raises.
        """
        self._let_go()
        if self._has_settled:
            self._guarded(self._folder.remove)

    def _let_go(self) -> None:
        with self._lock:
            lives = [live for live in (self._live, self._ahead) if live is not None]
        for live in lives:
            self._guarded(live.close)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception:
            log.exception("attempt_not_tidied_up")

    def _execute(self) -> state.Event | None:
        run = self._run
        manifest = self._manifest()
        if manifest is None:
            self._end_adopted()
            return self._failed("execution_error", "The worker's manifest does not load.")
        try:
            if self._live is not None:
                self._continue(self._live)
            else:
                self._run_afresh(manifest)
        except PreparationError as error:
            return self._failed(error.code, f"The run could not be prepared: {error}.")
        except InstallCancelled:
            if self._handed_over:
                raise _HandedOver from None
            return None if self._abandoned else state.Cancelled(run.fence)
        except SandboxUnavailable as error:
            return self._failed("sandbox_unavailable", error.detail)
        except SecretUnreadable as error:
            return self._failed("secret_unreadable", error.detail)
        outcome = self._patiently(lambda: self._collect(manifest))
        # One that ended by itself just before it was abandoned has done its work.
        ended_by_us = isinstance(outcome, state.Cancelled | state.Interrupted)
        return None if self._abandoned and ended_by_us else outcome

    def _manifest(self) -> Manifest | None:
        return self._with.registry.loaded_at(self._run.worker_id, self._run.worker_sha).manifest

    def gives_up(self) -> bool:
        """As a customer of environments: whether nobody waits for the run here any more."""
        return self._wanted_end or self._handed_over

    def tell(self, lines: Sequence[str]) -> None:
        """As a customer of environments: write lines into the run's log, before the worker's."""
        self._patiently(lambda: self._write(lines))
        self._with.signals.notify_progress(self._run.id)

    def _write(self, lines: Sequence[str]) -> None:
        now, last = self._with.clock.now(), self._with.logs.last_seq(self._run.id)
        self._with.logs.append(
            self._run.id,
            [
                LogLine(seq, now, "info", "system", self._mask.text(line))
                for seq, line in enumerate(lines, start=last + 1)
            ],
        )

    def _run_afresh(self, manifest: Manifest) -> None:
        if self._launch is not None:
            self._run_launch(self._launch)
            return
        preparation = self._with.preparation
        preparation.command(manifest)  # there is none: no packages either
        secrets = self._patiently(lambda: self._take_secrets(manifest))
        with preparation.installed(self._run, manifest, self) as packages:
            self._run_launch(self._patiently(lambda: self._prepare(manifest, secrets, packages)))

    def _run_launch(self, launch: Launch) -> None:
        self._watch_to_the_end(self._start(launch))
        if self._was_lost():
            self._watch_to_the_end(self._start(launch))

    def _was_lost(self) -> bool:
        """Whether all that had the launch was killed before it did anything.

        The end of its connection says that nobody has it any more. Who kills them
        again, or a disk that is full, interrupts the run.
        """
        has_started = self._with.sandbox.has_started(self._folder.path)
        return not (has_started or self._was_killed or self.gives_up())

    def _continue(self, live: LiveRun) -> None:
        with self._with.preparation.kept(self._folder):
            self._watch_to_the_end(self._resume(live))

    def _end_adopted(self) -> None:
        """End what an earlier life started and this one cannot judge."""
        if self._live is not None:
            self._with.sandbox.end_orphans([self._folder.path])
            self._live.close()

    def _watch_to_the_end(self, live: LiveRun) -> None:
        """Watch a started attempt to its end, its log carried along."""
        carrier = LiveLog(
            self._folder.meta, run_id=self._run.id, store=self._with.logs, mask=self._mask
        )
        try:
            self._watch(live, carrier)
        except _HandedOver:
            raise
        except Exception:  # no process outlives the record of its run
            self._with.sandbox.end_orphans([self._folder.path])
            raise
        self._last_lines = self._patiently(carrier.carry_but_the_rest)

    def _collect(self, manifest: Manifest) -> state.Event:
        """Return the outcome; of a supervisor that had to be killed, why that was."""
        run = self._run
        outcome = self._with.collection.collect(run, self._folder, manifest, self._mask)
        if not (self._was_killed and isinstance(outcome, state.Interrupted)):
            return outcome
        if self._wanted_end:
            return state.Cancelled(run.fence)
        seconds = run.policy.limits.timeout_seconds
        return self._failed(
            "timeout", f"The run took longer than {seconds} s (limits.timeout_seconds)."
        )

    def _take_secrets(self, manifest: Manifest) -> Mapping[str, str]:
        """Return the declared secrets; from here on nothing recorded holds one."""
        secrets = self._with.secrets.values(manifest.secrets, at=self._with.clock.now())
        self._mask = Mask([*secrets.values(), *self._tokens.values()])
        missing = [name for name in manifest.secrets if name not in secrets]
        if missing:
            raise SecretMissing(f"{', '.join(missing)} was deleted since the run was queued")
        return secrets

    def _resume(self, live: LiveRun) -> LiveRun:
        """Watch what runs already; its supervisor goes by its own clock for the limits."""
        run = self._run
        spent = (
            self._with.clock.now() - (run.attempt_started_at or run.created_at)
        ).total_seconds()
        self._set_deadline(run.policy.limits.timeout_seconds - spent)
        if run.cancel_requested_at is not None:
            self.cancel()
        return live

    def _start(self, launch: Launch) -> LiveRun:
        with self._lock:
            if self._handed_over:
                raise _HandedOver
            if self._live is not None:
                self._live.close()  # of the launch that was lost
            live = self._live = self._ahead or self._with.sandbox.start(launch)
            self._ahead = None
            live.begin()
            if self._wanted_end:
                live.cancel()
        if not self._wanted_end:
            self._set_deadline(self._run.policy.limits.timeout_seconds)
        return live

    def _set_deadline(self, seconds: float) -> None:
        """Say when a supervisor that is still there must be killed."""
        with self._lock:
            self._deadline = time.monotonic() + max(0.0, seconds) + END_SECONDS

    def _prepare(
        self,
        manifest: Manifest,
        secrets: Mapping[str, str],
        packages: Environment,
    ) -> Launch:
        """Fill a fresh folder; return how to start the worker in it."""
        launch = self._compose(manifest, secrets, packages)
        self._folder.create()
        self._with.preparation.fill(self._folder, self._run, manifest, packages)
        return launch

    def _compose(
        self, manifest: Manifest, secrets: Mapping[str, str], packages: Environment
    ) -> Launch:
        """Return how to start the worker, once its folder is filled."""
        run, preparation = self._run, self._with.preparation
        environment = preparation.environment(run, secrets, packages)
        return Launch(
            run_id=run.id,
            fence=run.fence,
            folder=self._folder.path,
            command=preparation.command(manifest),
            environment={**environment, **self._tokens},
            limits=run.policy.limits,
            first_seq=self._with.logs.last_seq(run.id) + 1,
            warm=manifest.warm,
            secret_names=(*secrets, *self._tokens),
            readable=packages.readable,
            egress=None if manifest.egress.is_denied else manifest.egress.allow,
            has_lasting_secrets=bool(secrets),  # the run's own token ends with it
        )

    def _watch(self, live: LiveRun, carrier: LiveLog) -> None:
        """Carry the log until the end; kill a supervisor that misses every deadline.

        A worker that is not isolated may have stopped it. Lines that the store
        does not take now stay in their file.
        """
        is_behind = False
        while (signal := live.wait(WAIT_SECONDS)) is not Signal.ENDED:
            if self._handed_over:
                raise _HandedOver
            if not self._was_killed and time.monotonic() >= self._deadline:
                self._was_killed = True
                self._with.sandbox.kill(self._folder.path)
                if not self._with.sandbox.has_started(self._folder.path):
                    live.close()  # nobody has taken it, and whoever does from here on sees this
                    self._with.sandbox.kill(self._folder.path)  # who just did
                    return
            if signal is not Signal.LOG and not is_behind:
                continue
            try:
                is_carried, is_behind = carrier.carry(), False
            except StoreUnavailable as error:
                is_carried, is_behind = False, True
                event(
                    log, logging.WARNING, "log_is_behind", run_id=self._run.id, detail=error.detail
                )
            if is_carried:
                self._with.signals.notify_progress(self._run.id)

    @property
    def _is_given_up(self) -> bool:
        """Whether somebody else is to record the outcome."""
        return self._abandoned or self._handed_over

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Call again while the store is down. Raises StoreUnavailable when that takes too long."""
        deadline = time.monotonic() + self._with.record_seconds
        while True:
            try:
                return call()
            except StoreUnavailable:
                if self._is_given_up or time.monotonic() > deadline:
                    raise
                time.sleep(RECORD_AGAIN_SECONDS)

    def _settle(self, outcome: state.Event | None) -> None:
        """Record the outcome."""
        try:
            self._patiently(lambda: self._record(outcome))
        except StoreUnavailable:
            log.exception("outcome_not_recorded")
            return
        self._has_settled = True

    def _record(self, outcome: state.Event | None) -> None:
        """Record the outcome, and the log's last lines with it.

        Neither of a run that is somebody else's by now: their attempt numbers its lines, too.
        """
        if outcome is None:
            return
        now = self._with.clock.now()
        try:
            run = self._with.store.change(
                self._run.id, lambda current: self._with_last_lines(current, outcome, now)
            )
        except (StaleFence, state.RunStateConflict):
            event(log, logging.WARNING, "attempt_lost", run_id=self._run.id)
            return
        # One that is to be tried again may be further by now than this record of it.
        self._with.signals.notify(run.id, None if run.status is RunStatus.QUEUED else run)
        if run.status is RunStatus.FAILED and run.policy.issue_on_failure:
            self._with.failures.ring()
        event(
            log, logging.INFO, "run_ended", run_id=run.id, worker_id=run.worker_id,
            status=run.status.value, code=run.error.code if run.error else None,
            duration_ms=run.duration_ms,
        )  # fmt: skip

    def _with_last_lines(
        self, current: RunRecord, outcome: state.Event, now: datetime
    ) -> RunChange:
        """Return what the outcome makes of the run, with the last lines of its log."""
        change = state.transition(current, outcome, now)
        return replace(change, lines=(*self._last_lines, *change.lines))

    def _failed(self, code: str, message: str) -> state.Failed:
        return state.Failed(self._run.fence, mask_error(RunError(code, message), self._mask))


class _HandedOver(Exception):
    """Nobody watches this attempt any more."""
