"""Two callers in one moment: what the first one did counts for the second."""

from __future__ import annotations

import threading

import pytest

from lib.runs import state
from lib.storage.approval_records import ApprovalStatus
from lib.storage.memory import MemoryRunStore
from lib.storage.records import RunRecord, RunStatus, StoredAnswer
from lib.storage.stored import Stored
from tests.contract.fused import Fuse
from tests.lib.runs.approvals.conftest import ballot
from tests.lib.runs.fake_sandbox import GOOD
from tests.lib.runs.samples import approval
from tests.lib.runs.world import World, refuse_a_thread_once


def test_a_cancel_that_meets_a_new_proposal_cancels_its_approval(world: World) -> None:
    world.add_worker(manifest="approvals: {required: true}\n")

    class SlowStore(MemoryRunStore):
        """The run proposes just after it was read."""

        proposal: state.Proposed | None = None

        def get(self, run_id: str) -> RunRecord:
            found = super().get(run_id)
            if (proposal := self.proposal) is not None:
                self.proposal = None
                now = world.clock.now()
                self.change(run_id, lambda run: state.transition(run, proposal, now))
            return found

    world.runs = store = SlowStore(world.references, world.upload_store)
    run = world.claimed()
    outputs = Stored(2, text="{}")
    store.proposal = state.Proposed(run.fence, approval(run, world.clock.now()), outputs)

    world.lifecycle().cancel(run.id)

    assert world.status(run) is RunStatus.CANCELLED
    (found,) = world.approvals.list_of_run(run.id)
    assert found.status is ApprovalStatus.CANCELLED


def test_a_cancel_that_meets_a_decision_is_refused(world: World) -> None:
    world.add_worker(manifest="approvals: {required: true}\n")
    world.sandbox.script = lambda live: live.finish(GOOD)
    run = world.executed()
    (waiting,) = world.approvals.list_of_run(run.id)
    lifecycle = world.lifecycle()

    def decide(step: str) -> None:
        if step == "before list_of_run":
            rejected = world.decisions.reject(waiting.id, ballot())
            assert not isinstance(rejected, StoredAnswer)

    lifecycle._approvals = Fuse(between=decide).protect(world.approvals)
    with pytest.raises(state.RunStateConflict):
        lifecycle.cancel(run.id)
    assert world.status(run) is RunStatus.FAILED


def test_runs_for_which_there_is_no_thread_are_queued_again(world: World) -> None:
    """All of them: one that was claimed with the one that failed has not begun either."""
    world.add_worker()
    runs = [world.start() for _ in range(3)]
    executor = world.executor(max_runs=3)
    refused = refuse_a_thread_once(executor)
    world.sandbox.script = lambda live: live.finish(GOOD)
    executor.start()
    try:
        for run in runs:
            assert world.until(run, RunStatus.COMPLETED).attempt == 1
    finally:
        executor.stop(grace_seconds=10)
    assert not [each for each in threading.enumerate() if each.name.startswith("run-")]
    assert refused.is_set()
