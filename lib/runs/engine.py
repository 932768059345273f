"""The engine: recovery first, then the executor and the housekeeping beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from lib.log import event
from lib.runs.approvals.expiry import Expiry
from lib.runs.executor import Executor
from lib.runs.failure_issues import FailureIssues
from lib.runs.recovery import Recovery
from lib.runs.removal import WorkerRemoval
from lib.runs.retention import Retention

log: Final = logging.getLogger(__name__)

RECOVER_SECONDS: Final = 10.0  # an expired lease is settled within 30 s
EXPIRE_SECONDS: Final = 5.0  # a vote that comes later than its approval's end is refused at once
SWEEP_SECONDS: Final = 3600.0
REPORT_SECONDS: Final = 60.0  # where nobody rang, or the last try failed
GRACE_SECONDS: Final = 0.5  # what is nearly done need not be handed over


class Engine:
    """Executes runs in this process from `start` to `stop`.

    Args:
        owner: Id of this server; names its leases.
    """

    def __init__(
        self,
        *,
        owner: str,
        executor: Executor,
        recovery: Recovery,
        retention: Retention,
        removal: WorkerRemoval,
        failures: FailureIssues,
        expiry: Expiry,
    ) -> None:
        self._owner = owner
        self._executor = executor
        self._recovery = recovery
        self._retention = retention
        self._removal = removal
        self._failures = failures
        self._expiry = expiry
        self._stopping = threading.Event()
        self._housekeepers = [
            threading.Thread(target=self._repeat, args=each, name=f"housekeeper-{number}")
            for number, each in enumerate(
                (
                    (self._recover_expired, partial(self._stopping.wait, RECOVER_SECONDS)),
                    (self._expire, partial(self._stopping.wait, EXPIRE_SECONDS)),
                    (self._sweep, partial(self._stopping.wait, SWEEP_SECONDS)),
                    (self._report_failures, partial(failures.bell.wait, REPORT_SECONDS)),
                )
            )
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Adopt or settle what an earlier life left, then take work."""
        self._recovery.recover_own(self._owner, adopt=self._executor.adopt)
        self._finish_removals()
        self._executor.start()
        for thread in self._housekeepers:
            thread.start()

    def stop(self) -> None:
        """Take no more work; what still runs goes on, and the next life adopts it."""
        self._stopping.set()
        self._failures.bell.ring()
        for run in self._executor.stop(grace_seconds=GRACE_SECONDS):
            event(log, logging.WARNING, "run_goes_on", run_id=run.id, worker_id=run.worker_id)
        for thread in self._housekeepers:
            thread.join()

    def _finish_removals(self) -> None:
        try:
            self._removal.finish()
        except Exception:  # a start must come up; the next one tries again
            log.exception("removals_not_finished")

    def _recover_expired(self) -> None:
        self._recovery.recover_expired(spare=self._executor.is_executing)

    def _expire(self) -> None:
        self._expiry.sweep(should_stop=self._stopping.is_set)

    def _sweep(self) -> None:
        self._retention.sweep(should_stop=self._stopping.is_set)

    def _report_failures(self) -> None:
        self._failures.work_off(should_stop=self._stopping.is_set)

    def _repeat(self, work: Callable[[], object], pause: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except Exception:  # a store that is down must not end the housekeeping
                log.exception("housekeeping_failed")
            pause()
