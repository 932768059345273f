"""Records as JSON text, the form in which every durable adapter keeps them.

A run is two documents: the summary that lists show, and the rest. `waits` and
`lease_until` are in neither: stores change them for many runs at once, without
reading any, so they live in columns of their own.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter

from lib.clock import from_milliseconds, rfc3339, to_milliseconds
from lib.storage.approval_records import Approval
from lib.storage.audit_records import AuditEntry
from lib.storage.records import (
    Artifact,
    Feedback,
    LogLine,
    RunEvent,
    RunRecord,
    RunSummary,
    Share,
    StoredAnswer,
    Upload,
    WorkerSettings,
)

Value = TypeVar("Value")

CACHED_SUMMARIES: Final = 4096  # about 2 KB each

_SUMMARY: Final = TypeAdapter(RunSummary)
_RUN: Final = TypeAdapter(RunRecord)
_IN_SUMMARY: Final = {field.name for field in fields(RunSummary)}
_NOT_IN_DETAIL: Final = _IN_SUMMARY | {"waits", "lease_until"}


class Codec(Generic[Value]):
    """Turns values of one record type into JSON text and back.

    pydantic does it in 3 to 6 us a record, half of what `json` and hand-written
    constructors take (measured on RunSummary and RunRecord).
    """

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Value] = TypeAdapter(kind)

    def encode(self, value: Value) -> str:
        """Return `value` as JSON text."""
        return self._adapter.dump_json(value).decode()

    def decode(self, text: str | bytes) -> Value:
        """Return the value of JSON text that `encode` made.

        Raises:
            pydantic.ValidationError: the stored text is damaged.
        """
        return self._adapter.validate_json(text)


ANSWERS: Final = Codec[StoredAnswer](StoredAnswer)
APPROVALS: Final = Codec[Approval](Approval)
ARTIFACTS: Final = Codec[Artifact](Artifact)
AUDIT_ENTRIES: Final = Codec[AuditEntry](AuditEntry)
EVENTS: Final = Codec[RunEvent](RunEvent)
FEEDBACK: Final = Codec[Feedback](Feedback)
LOG_LINES: Final = Codec[tuple[LogLine, ...]](tuple[LogLine, ...])
SHARES: Final = Codec[Share](Share)
UPLOADS: Final = Codec[Upload](Upload)
WORKER_SETTINGS: Final = Codec[WorkerSettings](WorkerSettings)


def encode_summary(run: RunSummary) -> str:
    """Return the part of `run` that lists show, as the JSON object that the API answers."""
    return _SUMMARY.dump_json(run).decode()


def encode_detail(run: RunRecord) -> str:
    """Return what the summary leaves out, but `waits` and `lease_until`."""
    return _RUN.dump_json(run, exclude=_NOT_IN_DETAIL).decode()


@lru_cache(maxsize=CACHED_SUMMARIES)
def decode_summary(text: str) -> RunSummary:
    """Return a summary. The same text gives the same (immutable) object."""
    return _SUMMARY.validate_json(text)


def decode_run(summary: str, detail: str, waits: str | None, lease_until: int | None) -> RunRecord:
    """Return a run from its two documents and the columns beside them.

    Args:
        summary: What `encode_summary` made.
        detail: What `encode_detail` made.
        waits: A `Wait` value.
        lease_until: Milliseconds since the epoch.
    """
    aside = ""
    if waits is not None:
        aside += f'"waits":"{waits}",'
    if lease_until is not None:
        aside += f'"lease_until":"{rfc3339(from_milliseconds(lease_until))}",'
    # Two JSON objects become one; a merge of parsed objects takes three times as long.
    return _RUN.validate_json(f"{summary[:-1]},{aside}{detail[1:]}")


def milliseconds(at: datetime | None) -> int | None:
    """Return the stored form of a time that may be absent."""
    return None if at is None else to_milliseconds(at)
