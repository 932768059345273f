"""Votes as they come in, and what they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lib.runs.approvals.voters import Voter
from lib.runs.key_use import KeyUse


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a vote led to.

    Attributes:
        status: `pending` while votes are missing.
        follow_up_run_id: The run that executes, or proposes again.
        given: Votes for the present proposal, this one included.
    """

    status: Literal["pending", "approved", "rejected"]
    run_id: str
    follow_up_run_id: str | None
    given: int
    required: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One vote as it comes in.

    Attributes:
        proposal_sha256: What the voter saw; must be said where several vote, or by a link.
        edited_output: What the voter wants to be executed instead.
        retry: Whether a rejected run is to be tried again.
    """

    voter: Voter
    proposal_sha256: str | None = None
    edited_output: Mapping[str, Any] | None = None
    reason: str | None = None
    retry: bool = False
    key: KeyUse[Outcome] | None = None
