"""Walks history: every commit once, merges with both their sides."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from lib.workspace.commit_objects import CommitInfo
from lib.workspace.errors import ObjectNotFound
from lib.workspace.object_store import ObjectStore

REQUEST_TRAILER: Final = "Floom-Request"
CLOCK_SLACK: Final = timedelta(minutes=5)  # between servers that write one workspace
MAX_OLD_COMMITS: Final = 64  # in a row; a person's clock may be wrong, and their merge in front


def newest_first(
    store: ObjectStore, tip: str | None, *, without: str | None = None
) -> Iterator[tuple[str, CommitInfo]]:
    """Yield `tip` and all its ancestors, by commit time as far as their clocks were right.

    `without` is left out, with those of its ancestors that are reached by it alone, or
    not before it.

    Ends quietly where a shallow repository does.

    Raises:
        ObjectNotFound: there is no commit `tip`.
    """
    if tip is None or tip == without:
        return
    seen = {tip}
    pending = [_entry(store, tip, 0)]
    while pending:
        _, order, sha, info = heapq.heappop(pending)
        yield sha, info
        for parent in info.parents:
            if parent in seen or parent == without:
                continue
            seen.add(parent)
            try:
                heapq.heappush(pending, _entry(store, parent, order - 1))
            except ObjectNotFound:
                continue


def find_request(
    store: ObjectStore, tip: str | None, request: str, *, since: datetime
) -> str | None:
    """Return the commit that carries a request's trailer, if it was made at or after `since`.

    Args:
        store: Where the commits are.
        tip: Where to begin.
        request: Value of the trailer `Floom-Request`.
        since: Nothing that is clearly older is looked at.
    """
    wanted = f"{REQUEST_TRAILER}: {request}"
    oldest, old_in_a_row = since - CLOCK_SLACK, 0
    for sha, info in newest_first(store, tip):
        if wanted in info.message.splitlines():
            return sha
        old_in_a_row = old_in_a_row + 1 if info.committed_at < oldest else 0
        if old_in_a_row > MAX_OLD_COMMITS:
            break
    return None


def find_request_above(
    store: ObjectStore, floor: str | None, tip: str | None, request: str
) -> str | None:
    """Return the commit that carries a request's trailer among those that came after `floor`."""
    wanted = f"{REQUEST_TRAILER}: {request}"
    for sha, info in newest_first(store, tip, without=floor):
        if wanted in info.message.splitlines():
            return sha
    return None


def _entry(store: ObjectStore, sha: str, order: int) -> tuple[float, int, str, CommitInfo]:
    """Return a heap's item: the newest first, of equally old ones the nearest to the tip."""
    info = store.commit(sha)
    return -info.committed_at.timestamp(), -order, sha, info
