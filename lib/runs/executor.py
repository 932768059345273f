"""The executor: claims runs as soon as there are any, and executes each on a thread.

A run that is created here while there is room is claimed as it is created, see `slot`;
all others, and all that wait, by the dispatcher.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from lib.auth.secret_token import SecretToken
from lib.clock import Clock
from lib.log import event
from lib.runs import state
from lib.runs.attempt import Attempt
from lib.runs.claim import LEASE_SECONDS, Claim
from lib.runs.signals import Bell, RunSignals
from lib.sandbox.port import LiveRun, Sandbox, SandboxUnavailable
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.ports import RunStore, StaleFence, StoreUnavailable
from lib.storage.records import Lease, LogLevel, RunChange, RunRecord, SandboxReport

log: Final = logging.getLogger(__name__)

RENEW_SECONDS: Final = 10.0
CLAIM_RETRY_SECONDS: Final = 1.0  # while the store is down
IDLE_SECONDS: Final = 30.0  # look again even if nobody rang
ANSWER_SECONDS: Final = 0.01  # in which whoever waits for an outcome is told it, undisturbed


class MakeAttempt(Protocol):
    """Makes the attempt of a run that is claimed here."""

    def __call__(
        self,
        run: RunRecord,
        *,
        token: SecretToken | None = None,
        adopted: LiveRun | None = None,
        mask: Mask = NO_MASK,
    ) -> Attempt:
        """Return it; see `Attempt`."""
        ...


class Slot:
    """Room for one run that is being created.

    Args:
        change: The run as claimed.
        attempt: What is to execute it.
        begin: Executes it.
    """

    def __init__(
        self, change: RunChange, attempt: Attempt, begin: Callable[[Attempt], None]
    ) -> None:
        self._change = change
        self._attempt = attempt
        self._begin = begin
        self._has_begun = False

    def start(self, _run: RunRecord) -> RunChange:
        """Return the run as claimed, for `RunStore.create`."""
        return self._change

    def prepare(self) -> None:
        """Do, while the creation is on its way, what the run waits for first. Never raises."""
        self._attempt.prepare_ahead()

    def begin(self) -> None:
        """Execute the run, which the store says has started; queue it again where that fails."""
        self._has_begun = True
        self._begin(self._attempt)

    def close(self) -> None:
        """Take back what was prepared, unless the run has begun. Never raises."""
        if not self._has_begun:
            self._attempt.withdraw()


class Executor:
    """Executes up to `max_runs` runs at one time in this process.

    Args:
        owner: Id of this server; it names the leases.
        bell: Rings when a run may have become claimable.
        answer_seconds: What comes after a run's end waits so long where nothing else runs.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        attempt: MakeAttempt,
        bell: Bell,
        signals: RunSignals,
        clock: Clock,
        owner: str,
        sandbox: Sandbox,
        max_runs: int,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._bell = bell
        self._signals = signals
        self._clock = clock
        self._owner = owner
        self._sandbox = sandbox
        self._max_runs = max_runs
        self._answer_seconds = answer_seconds
        self._attempts: dict[str, Attempt] = {}
        self._held: set[str] = set()  # runs that are being created, with a slot each
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._claiming = threading.Lock()
        self._stopping = threading.Event()
        self._tidying = threading.BoundedSemaphore(max_runs)
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatcher")
        self._renewer = threading.Thread(target=self._renew, name="lease-renewer")

    def start(self) -> None:
        """Begin to claim and execute."""
        self._dispatcher.start()
        self._renewer.start()

    def cancel(self, run_id: str) -> None:
        """End the process tree of a run if it runs here."""
        self._await_let_go(run_id)  # others may claim meanwhile
        with self._claiming:  # a run that is being claimed is not listed yet
            attempt = self._find(run_id)
        if attempt is not None:
            attempt.cancel()

    def note(self, run_id: str, level: LogLevel, message: str) -> None:
        """Add a line to the log of a run that runs here.

        Raises:
            RunStateConflict: it does not.
        """
        attempt = self._find(run_id)
        if attempt is None:
            raise state.RunStateConflict(f"Run {run_id} is not executing on this server.")
        attempt.note(level, message)

    def is_executing(self, run_id: str) -> bool:
        """Whether this process has an attempt of the run, or is about to."""
        with self._lock:
            return run_id in self._attempts or run_id in self._held

    def _find(self, run_id: str) -> Attempt | None:
        with self._lock:
            return self._attempts.get(run_id)

    def adopt(self, run: RunRecord, live: LiveRun, mask: Mask) -> None:
        """Go on with an attempt that an earlier life of this server started."""
        self._renew_all([Lease(run.id, run.fence)])
        self._begin(self._attempt(run, adopted=live, mask=mask))

    def stop(self, *, grace_seconds: float) -> list[RunRecord]:
        """Take no more work, give what runs a moment, let go of the rest.

        Returns:
            The runs that go on without this server; its next life adopts them.
        """
        self._stopping.set()
        self._bell.ring()
        self._join_starters()
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
            self._changed.wait_for(lambda: not self._attempts, grace_seconds)
            left = list(self._attempts.values())
        for attempt in left:
            attempt.hand_over()
        for thread in tuple(self._threads):
            thread.join()
        return [attempt.run for attempt in left]

    def _join_starters(self) -> None:
        for thread in (self._dispatcher, self._renewer):
            if thread.is_alive():
                thread.join()

    @contextmanager
    def slot(self, run: RunRecord) -> Iterator[Slot | None]:
        """Keep room for a run while it is created; None: there is none."""
        is_held = self._hold(run.id)
        slot: Slot | None = None
        try:
            slot = self._find_slot(run) if is_held else None
            yield slot
        finally:
            if slot is not None:
                slot.close()
            if is_held:
                self._let_go(run.id)

    def _hold(self, run_id: str) -> bool:
        with self._lock:
            takes_runs = self._dispatcher.is_alive() and not self._stopping.is_set()
            is_free = takes_runs and self._free_slots > 0
            if is_free:
                self._held.add(run_id)
        return is_free

    def _find_slot(self, run: RunRecord) -> Slot | None:
        """Return a slot where the run would begin in it, as far as can be told before.

        None also while the sandbox has to start: nobody waits for that in a request.
        """
        report = self._sandbox.report_at_hand()
        if report is None or not self._is_its_turn(run):
            return None
        claim = self._new_claim(report)
        change = claim.start(run)
        attempt = self._attempt(change.run, token=claim.token_of(change.run))
        return Slot(change, attempt, self._begin_created)

    def _is_its_turn(self, run: RunRecord) -> bool:
        """Whether the store is likely to say so: what is got ready for nothing is not cheap."""
        cap = run.policy.concurrency.max
        with self._lock:
            running = sum(each.run.worker_id == run.worker_id for each in self._attempts.values())
        if cap and running >= cap:
            return False
        try:
            return not self._store.is_any_claimable(now=run.created_at)
        except StoreUnavailable:  # so the creation will say, unless it is well again by then
            return False

    def _let_go(self, run_id: str) -> None:
        with self._changed:
            self._held.discard(run_id)
            has_left_room = run_id not in self._attempts  # it did not begin, or has ended already
            self._changed.notify_all()
        if has_left_room:
            self._bell.ring()  # who looked while it was held found no room

    def _await_let_go(self, run_id: str) -> None:
        """Wait until nobody creates the run any more.

        What was got ready for it in a slot that it did not get is in the folder of its first
        claim, whoever's that is, until it is taken back.
        """
        with self._changed:
            self._changed.wait_for(lambda: run_id not in self._held)

    def _begin_created(self, attempt: Attempt) -> None:
        """Begin a run that was claimed as it was created. Raises nothing: it is created."""
        try:
            self._begin(attempt)
        except Exception:
            log.exception("dispatch_failed")
            attempt.withdraw()
            with contextlib.suppress(StoreUnavailable):  # its lease ends, and it is interrupted
                self._give_back([attempt.run])

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._claim_and_begin()
                self._bell.wait(self._pause())
            except StoreUnavailable as error:
                event(log, logging.ERROR, "claim_failed", detail=error.detail)
                self._stopping.wait(CLAIM_RETRY_SECONDS)
            except Exception:  # a dispatcher that died would leave every run queued
                log.exception("dispatch_failed")
                self._stopping.wait(CLAIM_RETRY_SECONDS)

    def _claim_and_begin(self) -> None:
        """Begin all that can begin now; what can later is told by a ring, or by the time."""
        with self._claiming:
            claimed = self._claim()
            begun = 0
            try:
                for run, token in claimed:
                    self._await_let_go(run.id)
                    self._begin(self._attempt(run, token=token))
                    begun += 1
            except Exception:
                self._give_back([run for run, _ in claimed[begun:]])
                raise

    def _give_back(self, runs: Sequence[RunRecord]) -> None:
        """Queue runs again for which there was no thread; while they have no process."""
        for run in runs:
            with contextlib.suppress(StaleFence, state.RunStateConflict):
                self._store.change(run.id, partial(self._never_started, run.fence))
            self._signals.notify(run.id)

    def _never_started(self, fence: int, run: RunRecord) -> RunChange:
        return state.transition(run, state.NeverStarted(fence), self._clock.now())

    def _claim(self) -> list[tuple[RunRecord, SecretToken]]:
        """Claim as many runs as there is room for, each with a token of its own."""
        with self._lock:
            free = self._free_slots
        if free <= 0:
            return []
        claim = self._new_claim(self._find_report())
        claimed = self._store.claim(claim.start, now=self._clock.now(), limit=free)
        return [(run, claim.token_of(run)) for run in claimed]

    @property
    def _free_slots(self) -> int:
        return self._max_runs - len(self._held | self._attempts.keys())  # one that begins is both

    def _new_claim(self, report: SandboxReport) -> Claim:
        return Claim(owner=self._owner, report=report, clock=self._clock)

    def _find_report(self) -> SandboxReport:
        """Return what the sandbox holds; nothing where there is none, which the start will say.

        Not in the store's transaction: it may start a process.
        """
        try:
            return self._sandbox.report()
        except SandboxUnavailable:
            return SandboxReport()

    def _begin(self, attempt: Attempt) -> None:
        run = attempt.run
        thread = threading.Thread(target=self._execute, args=(attempt,), name=f"run-{run.id}")
        with self._lock:
            self._attempts[run.id] = attempt
            self._threads = {each for each in self._threads if each.is_alive()}
        self._signals.notify_progress(run.id)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._forget(attempt)
            raise
        with self._lock:
            self._threads.add(thread)  # a stop waits for its very end

    def _execute(self, attempt: Attempt) -> None:
        try:
            attempt.execute()
        finally:
            can_wait = self._tidying.acquire(blocking=False)
            if not can_wait:  # so many wait already: folders are not to pile up
                attempt.tidy_up()
            is_awaited = self._forget(attempt)
            if is_awaited or not can_wait:
                self._bell.ring()
            if can_wait:
                self._tidy_up_later(attempt, has_rung=is_awaited)

    def _tidy_up_later(self, attempt: Attempt, *, has_rung: bool) -> None:
        """Tidy up while others have the slot, and after who waits for the outcome is answered.

        Where other runs are under way there is no such quiet moment to be had.
        """
        try:
            if not self._attempts:
                self._stopping.wait(self._answer_seconds)
            if not has_rung:
                self._bell.ring()
            attempt.tidy_up()
        finally:
            self._tidying.release()

    def _forget(self, attempt: Attempt) -> bool:
        """Free its slot; return whether a run is likely to have waited for that.

        Others, such as the run itself if it is to be tried again, hear of it after the answer.
        """
        with self._changed:
            is_awaited = self._free_slots <= 0 or attempt.run.policy.concurrency.max > 0
            if self._attempts.get(attempt.run.id) is attempt:  # else its retry has begun
                del self._attempts[attempt.run.id]
            self._changed.notify_all()
        return is_awaited

    def _pause(self) -> float:
        """Return the seconds until a waiting retry is due, at most IDLE_SECONDS.

        While every slot is taken nothing is due: the end of an attempt rings.
        """
        with self._lock:
            if self._free_slots <= 0:
                return IDLE_SECONDS
        due: datetime | None = self._store.next_due()
        if due is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.0, (due - self._clock.now()).total_seconds()))

    def _renew(self) -> None:
        while not self._stopping.wait(RENEW_SECONDS):
            with self._lock:
                attempts = dict(self._attempts)
            leases = [Lease(run_id, attempt.run.fence) for run_id, attempt in attempts.items()]
            try:
                lost = self._renew_all(leases)
            except Exception:  # tried again in a moment, while the leases last
                log.exception("renewal_failed")
                continue
            for run_id in lost:
                attempts[run_id].abandon()

    def _renew_all(self, leases: list[Lease]) -> list[str]:
        until = self._clock.now() + timedelta(seconds=LEASE_SECONDS)
        return self._store.renew(leases, until=until) if leases else []
