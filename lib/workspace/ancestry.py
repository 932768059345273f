"""Walks history: every commit once, merges with both their sides."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lib.workspace.commit_objects import CommitInfo, parse_commit
from lib.workspace.errors import ObjectNotFound
from lib.workspace.object_store import ObjectSource, ObjectStore

REQUEST_TRAILER: Final = "Floom-Request"
CLOCK_SLACK: Final = timedelta(minutes=5)  # between servers that write one workspace
MAX_OLD_COMMITS: Final = 64  # in a row; a person's clock may be wrong, and their merge in front


@dataclass(frozen=True, slots=True)
class Search:
    """What came of looking for a request.

    Attributes:
        commit: Its commit, if there is one.
        tip: Where was begun: what came in since was not looked at.
    """

    commit: str | None
    tip: str | None


class RequestTrailers(dict[str, str]):
    """The trailer of a request's commit.

    Attributes:
        searched: The tip up to which the request was looked for before.
    """

    def __init__(self, request: str, *, searched: str | None) -> None:
        super().__init__({REQUEST_TRAILER: request})
        self.searched = searched

    @property
    def request(self) -> str:
        """The trailer's value."""
        return self[REQUEST_TRAILER]


def newest_first(store: ObjectStore, tip: str | None) -> Iterator[tuple[str, CommitInfo]]:
    """Yield `tip` and all its ancestors, by commit time as far as their clocks were right.

    Ends quietly where a shallow repository does.

    Raises:
        ObjectNotFound: there is no commit `tip`.
    """
    if tip is None:
        return
    seen = {tip}
    pending = [_entry(store, tip, 0)]
    while pending:
        _, order, sha, info = heapq.heappop(pending)
        yield sha, info
        for parent in info.parents:
            if parent in seen:
                continue
            seen.add(parent)
            try:
                heapq.heappush(pending, _entry(store, parent, order - 1))
            except ObjectNotFound:
                continue


def commits_between(
    source: ObjectSource, old: str | None, new: str
) -> list[tuple[str, CommitInfo]]:
    """Return the ancestors of `new` that `old` has not, `new` among them, parents first.

    Raises:
        ObjectNotFound: one is missing.
    """
    known = _ancestors_within(source, old, new) if old is not None else frozenset()
    ordered: list[tuple[str, CommitInfo]] = []
    seen: set[str] = set()
    pending: list[tuple[str, CommitInfo | None]] = [(new, None)]
    while pending:
        sha, done = pending.pop()
        if done is not None:
            ordered.append((sha, done))
        elif sha not in seen and sha not in known:
            seen.add(sha)
            info = read_commit(source, sha)
            pending.append((sha, info))
            pending.extend((parent, None) for parent in reversed(info.parents))
    return ordered


def is_ancestor(source: ObjectSource, old: str, new: str) -> bool:
    """Return whether `old` is `new` or one of its ancestors."""
    return old == new or old in _reached(source, new, until=old)


def read_commit(source: ObjectSource, sha: str) -> CommitInfo:
    """Return a commit's header. Raises ObjectNotFound."""
    return parse_commit(source.read(sha, "commit"))


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
    oldest, old_in_a_row = since - CLOCK_SLACK, 0
    for sha, info in newest_first(store, tip):
        if _carries(info, request):
            return sha
        old_in_a_row = old_in_a_row + 1 if info.committed_at < oldest else 0
        if old_in_a_row > MAX_OLD_COMMITS:
            break
    return None


def find_request_since(source: ObjectSource, trailers: RequestTrailers, tip: str) -> str | None:
    """Return the commit of a request among those that came in since it was looked for."""
    came_in = commits_between(source, trailers.searched, tip)
    return next((sha for sha, info in came_in if _carries(info, trailers.request)), None)


def _carries(info: CommitInfo, request: str) -> bool:
    return f"{REQUEST_TRAILER}: {request}" in info.message.splitlines()


def _ancestors_within(source: ObjectSource, old: str, new: str) -> frozenset[str]:
    """Return enough ancestors of `old` to stop at on the way down from `new`.

    Nearly always `new` was built on `old`, and a straight line leads there.
    """
    at = new
    while at != old:
        parents = read_commit(source, at).parents
        if len(parents) != 1:
            return frozenset(_reached(source, old))
        at = parents[0]
    return frozenset({old})


def _reached(source: ObjectSource, tip: str, *, until: str | None = None) -> set[str]:
    seen, pending = {tip}, [tip]
    while pending and until not in seen:
        for parent in read_commit(source, pending.pop()).parents:
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    return seen


def _entry(store: ObjectStore, sha: str, order: int) -> tuple[float, int, str, CommitInfo]:
    """Return a heap's item: the newest first, of equally old ones the nearest to the tip."""
    info = store.commit(sha)
    return -info.committed_at.timestamp(), -order, sha, info
