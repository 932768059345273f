"""Proposals that wait for a decision, and those that were decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from lib.errors import NotFound
from lib.storage.approval_records import Approval, ApprovalQuery
from lib.storage.ports.pages import Page
from lib.storage.records import Ruling, RunChange, RunRecord, StoredAnswer


class ApprovalNotFound(NotFound):
    """No approval has this id."""

    code = "approval_not_found"


class ClaimKey(NamedTuple):
    """An idempotency key as a store knows it: see IdempotencyClaim."""

    key: str
    body_digest: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was written, or the answer that the same request got before.

    Attributes:
        change: None where nothing was to be changed, or the request was answered before.
    """

    change: RunChange | None
    replayed: StoredAnswer | None = None


Judge = Callable[[RunRecord, Approval], Ruling | None]


class ApprovalStore(Protocol):
    """Approvals. RunStore.change makes them; here they are found and decided.

    They go with their run.
    """

    def get(self, approval_id: str) -> Approval:
        """Return an approval. Raises ApprovalNotFound."""
        ...

    def list_of_run(self, run_id: str) -> list[Approval]:
        """Return a run's approvals, oldest first."""
        ...

    def decide(
        self, approval_id: str, judge: Judge, *, now: datetime, key: ClaimKey | None = None
    ) -> Verdict:
        """Apply what `judge` makes of an approval and its run, as one unit.

        The run, its events, the approval, the follow-up run with all that belongs
        to its creation, and the claim of the request's key are one transaction:
        of any number of deciders, in any number of processes, each sees what the
        one before it wrote. `judge` is pure and quick; it may be called again.
        None: nothing is written.

        A live claim of `key` with the same digest: `judge` is not asked, and the
        stored answer returned.

        Raises:
            ApprovalNotFound, IdempotencyKeyReused, and whatever `judge` raises;
            nothing is written then.
        """
        ...

    def list_expired(self, *, now: datetime, limit: int) -> list[str]:
        """Return ids of pending approvals whose time was over by `now`, longest ago first."""
        ...

    def list(self, query: ApprovalQuery, *, limit: int, after: str | None = None) -> Page[Approval]:
        """Return a page of approvals, newest (highest id) first, below id `after`.

        Costs the same at any depth.
        """
        ...
