"""A worker that proposes, and people who vote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.runs.approvals.ballots import Ballot, Outcome
from lib.runs.approvals.voters import Voter
from lib.runs.lifecycle import StartRequest
from lib.storage.approval_records import Approval, VoteMethod
from lib.storage.records import StoredAnswer, Trigger
from tests.lib.runs.world import World, open_world

OUTPUTS = """
outputs:
  - {name: text, type: text, required: true}
  - {name: count, type: integer}
"""
PAYLOAD = {"text": "Dear Ada", "count": 3}

Propose = Callable[..., Approval]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def propose(world: World) -> Propose:
    """Let a worker with this policy propose; return what waits."""

    def make(
        policy: str = "required: true", *, by: str | None = "usr_ada", more: str = "", **result: Any
    ) -> Approval:
        worker_id = world.add_worker(
            "gated", f"exec: {{inputs: [{{name: who, type: text}}]}}\n{OUTPUTS}"
            f"approvals: {{{policy}}}\n{more}",
        )  # fmt: skip
        given = {"status": "success", "outputs": PAYLOAD, **result}
        world.sandbox.script = lambda live: live.finish(given)
        trigger = Trigger("manual", None, by)
        request = StartRequest(worker_id=worker_id, inputs={"who": "Ada"}, trigger=trigger)
        run = world.lifecycle().start(request).run
        assert run is not None
        world.execute(world.claim(run))
        (approval,) = world.approvals.list_of_run(run.id)
        return approval

    return make


def voter(name: str = "usr_bob", method: VoteMethod = "session", **fields: Any) -> Voter:
    return Voter(id=name, method=method, address="192.0.2.7", **fields)


def ballot(name: str = "usr_bob", **fields: Any) -> Ballot:
    who = fields.pop("voter", None) or voter(name)
    return Ballot(voter=who, **fields)


def approve(world: World, approval: Approval, name: str = "usr_bob", **fields: Any) -> Outcome:
    """Vote for what waits now."""
    fields.setdefault("proposal_sha256", world.approvals.get(approval.id).proposal_sha256)
    return taken(world.decisions.approve(approval.id, ballot(name, **fields)))


def taken(outcome: Outcome | StoredAnswer) -> Outcome:
    assert isinstance(outcome, Outcome)
    return outcome
