"""Pages of runs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from lib.ids import lowest_id_at
from lib.storage.ports import MAX_SCANNED_ROWS, Page
from lib.storage.records import RunQuery, RunRecord, RunSummary
from lib.storage.run_filters import is_exact, matches

_FIELDS = tuple(field.name for field in fields(RunSummary))


def page_of(
    newest_first: Sequence[RunRecord], query: RunQuery, limit: int, after: str | None
) -> Page[RunSummary]:
    """Return at most `limit` runs below id `after` that the query wants."""
    below = [run for run in newest_first if after is None or run.id < after]
    indexed = [run for run in below if _in_range(run, query)]
    looked_at = indexed if is_exact(query) else indexed[:MAX_SCANNED_ROWS]
    found = [run for run in looked_at if matches(run, query)]
    last = looked_at[-1].id if len(looked_at) < len(indexed) else None
    if len(found) > limit:
        last = found[limit - 1].id
    return Page(tuple(summary_of(run) for run in found[:limit]), last)


def summary_of(run: RunRecord) -> RunSummary:
    """Return the part of a run that lists show."""
    return RunSummary(**{name: getattr(run, name) for name in _FIELDS})


def _in_range(run: RunRecord, query: RunQuery) -> bool:
    """Return whether an index leads to this run."""
    trigger = None if query.worker_id or query.statuses else query.trigger
    return (
        trigger in (None, run.trigger.type)
        and (query.worker_id is None or run.worker_id == query.worker_id)
        and (not query.statuses or run.status in query.statuses)
        and (query.since is None or run.id >= lowest_id_at("run", query.since))
        and (query.until is None or run.id < lowest_id_at("run", query.until))
    )
