"""What a RunQuery asks for, beyond what an index answers."""

from __future__ import annotations

from lib.storage.records import RunQuery, RunSummary


def is_exact(query: RunQuery) -> bool:
    """Return whether indexes answer the query whole, so that no row is looked at in vain."""
    alone = query.worker_id is None and not query.statuses
    return query.text is None and (query.trigger is None or alone)


def matches(run: RunSummary, query: RunQuery) -> bool:
    """Return whether trigger and text of the query hold for a run."""
    if query.trigger is not None and run.trigger.type != query.trigger:
        return False
    if query.text is None:
        return True
    wanted = query.text.casefold()
    message = run.error.message if run.error else ""
    return wanted in run.worker_id.casefold() or wanted in message.casefold()
