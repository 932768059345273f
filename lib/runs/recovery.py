"""Recovery: what becomes of runs whose executor went away.

After a restart on the same data folder the server looks at the runs that it
left before any lease rule applies: one that still lives is adopted, with its
lease and its fence; an exit record is collected; a run whose process never came
to be is queued again; of any other what is left is ended, and the run is
interrupted. Runs of other owners follow their lease.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from lib.clock import Clock
from lib.log import event
from lib.runs import state
from lib.runs.collection import Collection
from lib.runs.live_log import LiveLog
from lib.runs.masks import Masks
from lib.runs.preparation import AttemptFolder, remove_tree
from lib.runs.signals import Bell, RunSignals
from lib.sandbox.port import LiveRun, Sandbox
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.ports import LogStore, RunStore, StaleFence, StoreUnavailable
from lib.storage.records import RunRecord, RunStatus
from lib.workspace.registry import Registry

log: Final = logging.getLogger(__name__)

BATCH: Final = 100
RESTARTED: Final = "The server was restarted while the run was running."
LEASE_LOST: Final = "The server that ran this stopped renewing its lease."


Adopt = Callable[[RunRecord, LiveRun, Mask], None]


class Recovery:
    """Settles runs that nobody executes any more.

    Args:
        bell: Rung when a run may be claimed.
        failures: Rung when a run has left a report of its failure.
        runs_folder: Where attempt folders are.
        same_boot: Whether the host has run without interruption since this
            server last wrote: only then does a mark, or its absence, prove
            anything.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        logs: LogStore,
        registry: Registry,
        collection: Collection,
        masks: Masks,
        sandbox: Sandbox,
        clock: Clock,
        signals: RunSignals,
        bell: Bell,
        failures: Bell,
        runs_folder: Path,
        same_boot: bool,
    ) -> None:
        self._store = store
        self._logs = logs
        self._registry = registry
        self._collection = collection
        self._masks = masks
        self._sandbox = sandbox
        self._clock = clock
        self._signals = signals
        self._bell = bell
        self._failures = failures
        self._runs_folder = runs_folder
        self._same_boot = same_boot

    def recover_own(self, owner: str, *, adopt: Adopt) -> int:
        """Adopt or settle every run that an earlier life of this server left; return how many.

        Each run is judged for itself: no one of them keeps the server from starting.

        Args:
            owner: The server's id, the same in each of its lives.
            adopt: Goes on with a run that lives.
        """
        runs = self._store.list_leased(owner)
        finished = {run.id for run in runs if self._guarded(self._has_exit, run)}
        adopted = {
            run.id
            for run in runs
            if run.id not in finished and self._guarded(lambda run: self._adopt(run, adopt), run)
        }
        left = [run for run in runs if run.id not in adopted]
        self._end_orphans([run for run in left if run.id not in finished])
        waiting = {run.id for run in left if not self._judge(run, was_finished=run.id in finished)}
        spared = adopted | waiting
        self._sweep_folders(spared={self._folder(run).path for run in runs if run.id in spared})
        return len(runs)

    def recover_expired(self, *, spare: Callable[[str], bool] = lambda _: False) -> int:
        """Settle runs whose lease ran out, whoever held it; return how many.

        Args:
            spare: Whether a run, by id, is executing here after all: the host
                slept or its clock jumped, and the lease is renewed in a moment.
        """
        expired = self._store.list_expired(now=self._clock.now(), limit=BATCH)
        runs = [run for run in expired if not spare(run.id)]
        for run in runs:
            self._guarded(self._judge_expired, run)
        return len(runs)

    def _guarded(self, act: Callable[[RunRecord], bool], run: RunRecord) -> bool:
        """Return what `act` says of a run, False where it fails: the other runs must go on.

        Raises:
            StoreUnavailable: that is no fault of the run's.
        """
        try:
            return act(run)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - logged
            _log_failure("run_not_judged", run)
            return False

    def _judge(self, run: RunRecord, *, was_finished: bool) -> bool:
        """Settle a run whose process is gone; False where that must be tried again."""
        verdict = self._guarded_verdict(run, was_finished=was_finished)
        return self._guarded(lambda run: self._settle(run, verdict), run)

    def _end_orphans(self, runs: Sequence[RunRecord]) -> None:
        """End what is left of runs: together, because each may take seconds; else one by one."""
        try:
            self._sandbox.end_orphans([self._folder(run).path for run in runs])
        except Exception:
            log.exception("orphans_not_ended")
            for run in runs:
                self._guarded(self._has_ended, run)

    def _has_ended(self, run: RunRecord) -> bool:
        self._sandbox.end_orphans([self._folder(run).path])
        return True

    def _adopt(self, run: RunRecord, adopt: Adopt) -> bool:
        """Go on with a run that lives; False if it does not, or nobody may record it."""
        live = self._sandbox.adopt(self._folder(run).path)
        if live is None:
            return False
        mask = self._find_mask(run)
        if mask is None:
            live.close()
            return False
        event(log, logging.INFO, "run_adopted", run_id=run.id, worker_id=run.worker_id)
        adopt(run, live, mask)
        return True

    def _folder(self, run: RunRecord) -> AttemptFolder:
        return AttemptFolder.of(self._runs_folder, run)

    def _has_exit(self, run: RunRecord) -> bool:
        """Whether the attempt's end is on record.

        After a reboot no such record counts: the worker's files may be half there.
        """
        return self._same_boot and self._sandbox.find_exit(self._folder(run).path) is not None

    def _judge_expired(self, run: RunRecord) -> bool:
        """Judge a run by its folder where that is here: its outcome may only be unrecorded."""
        if not self._folder(run).path.is_dir():
            return self._settle(run, state.Interrupted(run.fence, LEASE_LOST))
        was_finished = self._guarded(self._has_exit, run)
        if not was_finished:
            self._end_orphans([run])
        return self._judge(run, was_finished=was_finished)

    def _guarded_verdict(self, run: RunRecord, *, was_finished: bool) -> state.Event | None:
        """One run that cannot be judged must not keep the server from starting.

        None: a store cannot take what the run left; its lease lets it be tried again.
        """
        try:
            return self._verdict(run, was_finished=was_finished)
        except StoreUnavailable:
            _log_failure("run_not_collected", run)
            return None
        except Exception:  # noqa: BLE001 - logged
            _log_failure("run_not_judged", run)
            return state.Interrupted(run.fence, RESTARTED)

    def _verdict(self, run: RunRecord, *, was_finished: bool) -> state.Event:
        """Return what becomes of a run whose process is gone.

        `was_finished` says whether its end was on record before it was ended; one
        that ended by itself just then has done its work as well.
        """
        folder = self._folder(run)
        mask = self._find_mask(run)
        # The supervisor has masked these lines already, with the values that the run had.
        LiveLog(folder.meta, run_id=run.id, store=self._logs, mask=mask or NO_MASK).carry()
        exit_record = self._sandbox.find_exit(folder.path) if self._same_boot else None
        if exit_record and (was_finished or exit_record.ended_by != "cancel"):
            return self._collected(run, folder, mask)
        if self._same_boot and not self._sandbox.has_started(folder.path):
            return state.NeverStarted(run.fence)
        return state.Interrupted(run.fence, RESTARTED)

    def _collected(self, run: RunRecord, folder: AttemptFolder, mask: Mask | None) -> state.Event:
        manifest = self._registry.loaded_at(run.worker_id, run.worker_sha).manifest
        if manifest is None or mask is None:
            return state.Interrupted(run.fence, RESTARTED)
        return self._collection.collect(run, folder, manifest, mask)

    def _find_mask(self, run: RunRecord) -> Mask | None:
        """Return the run's mask; None: without one its outcome must not be recorded."""
        try:
            return self._masks.of_run(run)
        except SecretUnreadable as error:
            event(log, logging.ERROR, "no_mask", run_id=run.id, detail=error.detail)
            return None

    def _settle(self, run: RunRecord, verdict: state.Event | None) -> bool:
        """Record a verdict; False where there is none, and the folder is still needed."""
        if verdict is None:
            return False
        now = self._clock.now()
        try:
            settled = self._store.change(
                run.id, lambda current: state.transition(current, verdict, now)
            )
        except (StaleFence, state.RunStateConflict):
            return True  # somebody else was first
        self._folder(run).remove()
        self._signals.notify(run.id)
        if settled.status is RunStatus.QUEUED:
            self._bell.ring()
        if settled.status is RunStatus.FAILED and settled.policy.issue_on_failure:
            self._failures.ring()
        event(
            log, logging.WARNING, "run_recovered", run_id=run.id,
            verdict=type(verdict).__name__, status=settled.status.value,
        )  # fmt: skip
        return True

    def _sweep_folders(self, *, spared: AbstractSet[Path]) -> None:
        """Remove folders of attempts that ended just before the server did, also of runs that go on."""
        if not self._runs_folder.is_dir():
            return
        in_use = {path.parent for path in spared}
        for folder in self._runs_folder.iterdir():
            for each in folder.iterdir() if folder in in_use else [folder]:
                if each not in spared:
                    _remove_or_leave(each)


def _remove_or_leave(folder: Path) -> None:
    """Remove it, or leave it to the next start: a folder that stays is no reason not to start."""
    try:
        remove_tree(folder)
    except OSError:
        log.exception("folder_not_removed")


def _log_failure(name: str, run: RunRecord) -> None:
    """Log the exception that is being handled, and whose it is."""
    event(log, logging.ERROR, name, run_id=run.id, traceback=traceback.format_exc())
