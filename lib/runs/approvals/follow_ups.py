"""The runs that a decision makes: the one that executes, or another attempt at proposing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from lib.clock import Clock
from lib.ids import Ids
from lib.manifest.models import Manifest
from lib.runs import state
from lib.runs.approvals.errors import ApprovalConflict
from lib.runs.catalogue import Catalogue, WorkerBroken
from lib.runs.collection import canonical
from lib.runs.inputs import STAMPED
from lib.runs.lifecycle import require_nothing_missing
from lib.storage.approval_records import Approval
from lib.storage.content import ContentStore
from lib.storage.records import Phase, RunChange, RunRecord, RunStatus, Trigger
from lib.storage.stored import Stored
from lib.workspace.errors import ObjectNotFound


@dataclass(frozen=True, slots=True)
class _New:
    """What tells a follow-up from the run that it follows."""

    phase: Phase
    trigger: Trigger
    inputs: Stored
    effect_key: str | None = None


class FollowUps:
    """Makes them; nothing is written.

    A follow-up executes the tree that proposed, whatever became of the worker
    since. What was disabled since does not run: it is refused before anything
    is decided, so that the proposal still waits when it is enabled again.
    """

    def __init__(
        self, *, catalogue: Catalogue, content: ContentStore, clock: Clock, ids: Ids
    ) -> None:
        self._catalogue = catalogue
        self._content = content
        self._clock = clock
        self._ids = ids

    def manifest_of(self, run: RunRecord) -> Manifest:
        """Return the manifest that a run proposed by, if that may be executed now.

        Raises:
            ApprovalConflict: the tree cannot be read any more.
            WorkerDisabled, MissingSecret, MissingConnection: as for a start.
        """
        try:
            entry, manifest = self._catalogue.get_runnable_at(run)
        except (ObjectNotFound, WorkerBroken):
            raise ApprovalConflict(
                f"The worker of run {run.id} can no longer be read; reject or cancel the run."
            ) from None
        require_nothing_missing(entry)
        return manifest

    def proposal_of(self, approval: Approval) -> dict[str, Any]:
        """Return what an approval would execute, verbatim."""
        proposal: dict[str, Any] = json.loads(self._content.load_json(approval.proposal))
        return proposal

    def execute(
        self, run: RunRecord, approval: Approval, proposal: dict[str, Any], *, by: str
    ) -> RunChange:
        """Return the run that executes a proposal; `by` is whose vote decides."""
        inputs = self._given(run) | {"decision": "approved", "approved_output": proposal}
        new = _New(
            Phase.EXECUTE,
            Trigger("approval", approval.id, by),
            self._content.store_json(canonical(inputs), sealed=True),
            effect_key=approval.id,  # one decision, one effect, however many attempts
        )
        return self._follow(run, new)

    def propose_again(self, run: RunRecord, *, reason: str | None) -> RunChange:
        """Return a run that proposes anew and knows why the last proposal was rejected.

        It counts as started by whoever started the first one: their word on it
        counts as little.
        """
        feedback = {"decision": "rejected", "reason": reason}
        inputs = self._given(run) | {"decision": "proposed", "review_feedback": feedback}
        trigger = Trigger("retry", run.id, run.trigger.by)
        new = _New(Phase.PROPOSE, trigger, self._content.store_json(canonical(inputs), sealed=True))
        return self._follow(run, new)

    def _given(self, run: RunRecord) -> dict[str, Any]:
        """Return a run's inputs without what the engine stamps."""
        inputs: dict[str, Any] = json.loads(self._content.load_json(run.inputs))
        return {name: value for name, value in inputs.items() if name not in STAMPED}

    def _follow(self, run: RunRecord, new: _New) -> RunChange:
        now, run_id = self._clock.now(), self._ids.new("run")
        # A decision is never skipped for a cap; it waits its turn.
        concurrency = run.policy.concurrency.model_copy(update={"on_limit": "queue"})
        return state.first_change(
            RunRecord(
                id=run_id,
                worker_id=run.worker_id,
                worker_sha=run.worker_sha,
                commit=run.commit,
                status=RunStatus.QUEUED,
                phase=new.phase,
                trigger=new.trigger,
                priority=run.priority,
                parent_run_id=run.id,
                created_at=now,
                queued_at=now,
                inputs=new.inputs,
                effect_key=new.effect_key or run_id,
                manifest_digest=run.manifest_digest,
                policy=replace(run.policy, concurrency=concurrency),
                uploads=run.uploads,
            )
        )
