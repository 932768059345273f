"""Which blobs a record names, and under which name it is known to name them."""

from __future__ import annotations

from collections.abc import Iterator

from lib.storage.records import Feedback, RunChange, RunRecord
from lib.storage.stored import Stored

RUN_ITEM = "run"


def hashes_of(*values: Stored | None) -> set[str]:
    """Return the blobs that these values are kept in."""
    return {value.sha256 for value in values if value is not None and value.sha256 is not None}


def named_by_run(run: RunRecord) -> set[str]:
    """Return the blobs of a run's inputs and outputs."""
    return hashes_of(run.inputs, run.outputs)


def named_by_belongings(change: RunChange) -> Iterator[tuple[str, set[str]]]:
    """Yield the blobs of each artifact and approval of a change, by item."""
    for artifact in change.artifacts:
        in_blob = artifact.data is None
        yield f"artifact/{artifact.name}", {artifact.sha256} if in_blob else set()
    if change.approval is not None:
        approval = change.approval
        yield f"approval/{approval.id}", hashes_of(approval.preview, approval.proposal)


def feedback_item(feedback: Feedback) -> str:
    """Return the part of its run under which feedback names its blob."""
    return f"feedback/{feedback.id}"


def claim_owner(key: str) -> str:
    """Return the owner of what an idempotency claim names."""
    return f"claim/{key}"
