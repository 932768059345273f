"""Decisions on one approval by several processes at once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from lib.runs.lifecycle import StartRequest
from lib.storage.approval_records import ApprovalStatus
from lib.storage.records import RunQuery, RunStatus, Trigger
from tests.lib.runs.approvals.decider import DiskWorld, open_disk_world
from tests.lib.workspace import processes

PROCESSES = 4
ENDS = {
    ApprovalStatus.APPROVED: RunStatus.COMPLETED,
    ApprovalStatus.REJECTED: RunStatus.FAILED,
    ApprovalStatus.CANCELLED: RunStatus.CANCELLED,
}


def proposed(world: DiskWorld) -> str:
    """Let a worker propose; return the approval's id."""
    world.add_worker("gated", "approvals: {required: true}\n")
    world.sandbox.script = lambda live: live.finish({"status": "success"})
    request = StartRequest(worker_id="gated", inputs={}, trigger=Trigger("manual"))
    run = world.lifecycle().start(request).run
    assert run is not None
    world.execute(world.claim(run))
    (approval,) = world.approvals.list_of_run(run.id)
    return str(approval.id)


def race(tmp_path: Path, *, calls: int) -> None:
    """Let all processes decide at once; judge what stands."""
    with open_disk_world(tmp_path) as world:
        approval_id = proposed(world)
        started = [
            processes.start("tests.lib.runs.approvals.decider", tmp_path, approval_id, calls)
            for _ in range(PROCESSES)
        ]
        processes.go(*started)
        counted: Counter[str] = Counter()
        for each in started:
            counted.update(json.loads(each.communicate(timeout=300)[0]))

        assert counted.total() == calls * PROCESSES
        won = {kind: count for kind, count in counted.items() if kind.startswith("won")}
        assert list(won.values()) == [1], counted
        approval = world.approvals.get(approval_id)
        assert world.runs.get(approval.run_id).status is ENDS[approval.status]
        runs = world.runs.list(RunQuery(), limit=9).rows
        follows = approval.status is not ApprovalStatus.CANCELLED
        assert len(runs) == 1 + follows
        assert len(approval.votes) == follows
        assert (approval.follow_up_run_id is not None) is follows


def test_one_of_two_hundred_decides(tmp_path: Path) -> None:
    race(tmp_path, calls=50)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(10))
def test_one_of_a_thousand_decides(tmp_path: Path, number: int) -> None:
    race(tmp_path, calls=250)
