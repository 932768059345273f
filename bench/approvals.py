"""Approvals decided a second, beside starts of runs: both are one durable transaction.

Run with `python -m bench approvals`. A decision reads the approval, its run and the
worker's tree, then ends the run and queues the follow-up, encrypted inputs and all.
Nothing executes meanwhile.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.kit.figures import ratio
from bench.kit.table import table
from lib.bootstrap import Local, Services
from lib.ids import Ids
from lib.runs import state
from lib.runs.approvals.ballots import Ballot
from lib.runs.approvals.voters import Voter
from lib.runs.lifecycle import StartRequest
from lib.settings import Settings
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.records import RunRecord, SandboxReport, Trigger

WORKER: Final = "outbound-approval-demo"
INPUTS: Final = {"recipient": "ada@example.org", "topic": "lunch"}
PROPOSAL: Final = '{"body":"Dear Ada","subject":"Lunch","to":"ada@example.org"}'
APPROVALS: Final = 1_500
CALLERS: Final = (1, 8, 32)


def main() -> str:
    """Return a table of decisions and starts a second."""
    rows = []
    for callers in CALLERS:
        starts, decisions = _rates(callers)
        rows.append(
            (f"{callers}", f"{decisions:,.0f}", f"{starts:,.0f}", ratio([decisions], [starts]))
        )
    return table(["callers", "decisions a second", "starts a second", "of it"], rows)


def _rates(callers: int) -> tuple[float, float]:
    """Return starts and decisions a second."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Local(Settings.model_validate({"FLOOM_DATA_DIR": Path(folder)})) as local,
        ThreadPoolExecutor(callers) as pool,
    ):
        services = local.services
        began = time.perf_counter()
        runs = list(pool.map(lambda _: _start(services), range(APPROVALS)))
        starts = APPROVALS / (time.perf_counter() - began)
        waiting = list(pool.map(lambda run: _propose(services, run), runs))
        began = time.perf_counter()
        list(pool.map(lambda each: _approve(services, each), waiting))
        return starts, APPROVALS / (time.perf_counter() - began)


def _start(services: Services) -> RunRecord:
    request = StartRequest(worker_id=WORKER, inputs=INPUTS, trigger=Trigger("manual", by="usr_a"))
    run = services.lifecycle.start(request).run
    assert run is not None
    return run


def _propose(services: Services, run: RunRecord) -> str:
    """Let a run wait for a decision, as its attempt would; return the approval's id."""
    now = services.clock.now()
    sealed = services.content.store_json(PROPOSAL, sealed=True)
    approval = Approval(
        id=Ids(services.clock).new("apr"),
        run_id=run.id,
        worker_id=run.worker_id,
        status=ApprovalStatus.PENDING,
        label="Send it?",
        preview=services.content.store_json('"Dear Ada"', sealed=True),
        preview_type="text",
        proposal=sealed,
        proposal_sha256=hashlib.sha256(PROPOSAL.encode()).hexdigest(),
        required=1,
        requested_at=now,
        expires_at=now + timedelta(hours=72),
    )
    claim = state.Started("bench", now + timedelta(minutes=9), "local", SandboxReport())
    claimed = services.runs.change(run.id, lambda each: state.transition(each, claim, now))
    proposed = state.Proposed(claimed.fence, approval, sealed)
    services.runs.change(run.id, lambda each: state.transition(each, proposed, now))
    return approval.id


def _approve(services: Services, approval_id: str) -> None:
    voter = Voter(id="usr_b", method="session", address="192.0.2.1")
    services.approvals.approve(approval_id, Ballot(voter=voter))


if __name__ == "__main__":
    print(main())
