"""Lists of runs: which index answers which filter.

Ids are time-ordered, so a page is "ids below this one, from the top" on an
index that ends with the id; it costs the same at any depth. Several statuses
are several such ranges, merged as they are read.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from lib.ids import lowest_id_at
from lib.storage.documents import decode_summary
from lib.storage.ports import MAX_SCANNED_ROWS, Page
from lib.storage.records import RunQuery, RunStatus
from lib.storage.run_filters import is_exact, matches

BY_ID = """
SELECT id, summary FROM runs INDEXED BY runs_by_id
WHERE id >= ? AND id < ?"""
BY_WORKER = """
SELECT id, summary FROM runs INDEXED BY runs_by_worker
WHERE worker_id = ? AND id >= ? AND id < ?"""
BY_STATUS = """
SELECT id, summary FROM runs INDEXED BY runs_by_status
WHERE status = ? AND id >= ? AND id < ?"""
BY_WORKER_STATUS = """
SELECT id, summary FROM runs INDEXED BY runs_by_worker_status
WHERE worker_id = ? AND status = ? AND id >= ? AND id < ?"""
BY_TRIGGER = """
SELECT id, summary FROM runs INDEXED BY runs_by_trigger
WHERE "trigger" = ? AND id >= ? AND id < ?"""
NEWEST_FIRST = "\nORDER BY id DESC LIMIT ?"

_ABOVE_ALL_IDS = "~"


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement that reads runs from the newest down.

    Attributes:
        values: All but the last one, the number of rows.
        exact: Every row it reads is wanted; else rows must be looked at.
    """

    statement: str
    values: tuple[Any, ...]
    exact: bool


def plan(query: RunQuery, after: str | None) -> Plan:
    """Choose the ranges that a query reads; `after` is the last id seen."""
    statuses = _statuses(query)
    bounds = _bounds(query, after)
    alone = query.worker_id is None and not statuses
    if query.trigger is not None and alone:
        return Plan(BY_TRIGGER + NEWEST_FIRST, (query.trigger, *bounds), is_exact(query))
    source, keys = _ranges(query.worker_id, statuses)
    return Plan(
        statement="\nUNION ALL".join([source] * len(keys)) + NEWEST_FIRST,
        values=tuple(value for key in keys for value in (*key, *bounds)),
        exact=is_exact(query),
    )


def read_page(
    connection: sqlite3.Connection, query: RunQuery, limit: int, after: str | None
) -> Page[str]:
    """Return a page of at most `limit` runs below the id `after`, as JSON texts."""
    chosen = plan(query, after)
    if not chosen.exact:
        return _search(connection, chosen, query, limit)
    rows = connection.execute(chosen.statement, (*chosen.values, limit + 1)).fetchall()
    page = rows[:limit]
    return Page(tuple([summary for _, summary in page]), page[-1][0] if len(rows) > limit else None)


def _search(connection: sqlite3.Connection, chosen: Plan, query: RunQuery, limit: int) -> Page[str]:
    """Return what matches among the next MAX_SCANNED_ROWS rows."""
    found: list[str] = []
    rows = connection.execute(chosen.statement, (*chosen.values, MAX_SCANNED_ROWS + 1))
    last = None
    for scanned, (run_id, summary) in enumerate(rows):
        if scanned == MAX_SCANNED_ROWS or len(found) == limit:
            return Page(tuple(found), last)
        last = run_id
        # Not through the cache: a search would push out what is shown.
        if matches(decode_summary.__wrapped__(summary), query):
            found.append(summary)
    return Page(tuple(found))


def _statuses(query: RunQuery) -> list[str]:
    """Return the statuses to read, none if that is all of them."""
    if len(query.statuses) == len(RunStatus):
        return []
    return sorted(status.value for status in query.statuses)


def _bounds(query: RunQuery, after: str | None) -> tuple[str, str]:
    """Return the lowest id that counts, and the one below which to read."""
    lowest = lowest_id_at("run", query.since) if query.since else ""
    end = lowest_id_at("run", query.until) if query.until else _ABOVE_ALL_IDS
    return lowest, min(end, after or _ABOVE_ALL_IDS)


def _ranges(worker_id: str | None, statuses: list[str]) -> tuple[str, list[tuple[str, ...]]]:
    """Return a range's statement, and the keys of each range."""
    if worker_id is None:
        return (BY_STATUS, [(status,) for status in statuses]) if statuses else (BY_ID, [()])
    if statuses:
        return BY_WORKER_STATUS, [(worker_id, status) for status in statuses]
    return BY_WORKER, [(worker_id,)]
