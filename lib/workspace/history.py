"""Which commits changed a worker: an index that follows the tip.

Walking history for one worker costs a look at every commit there is. The index
looks at each commit once in its life, soon after it was made or when somebody
asks, and can always be made again from git.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.ids import is_worker_id
from lib.workspace.ancestry import newest_first
from lib.workspace.commit_objects import CommitInfo
from lib.workspace.errors import ObjectNotFound
from lib.workspace.git_paths import decode
from lib.workspace.history_file import HistoryFile, Versions
from lib.workspace.locks import exclusive_if_free
from lib.workspace.object_store import ObjectStore
from lib.workspace.tree_objects import EMPTY_TREE, differing_names

WORKERS: Final = b"workers"

Change = tuple[str, tuple[str, ...]]  # a commit, and ids of the workers that it changed


@dataclass(frozen=True)
class VersionPage:
    """Commits that changed a worker, newest first.

    Attributes:
        commits: Their ids.
        next_index: What to pass for the next page; None on the last one.
    """

    commits: tuple[str, ...]
    next_index: int | None


class History:
    """The index of one repository. Any thread may call.

    A commit counts for a worker where its folder differs from that of every
    parent: a merge that only takes over one side is no version.

    Args:
        store: Where commits and trees are read.
        folder: Where the index is kept, and its lock.
    """

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._file = HistoryFile(folder / "history")
        self._lock_path = folder / "history.lock"
        self._versions = Versions()
        self._lock = threading.Lock()

    def page(
        self, worker_id: str, tip: str | None, *, below: int | None, limit: int
    ) -> VersionPage:
        """Return a page of a worker's versions up to `tip`; none of a worker that never was.

        Args:
            worker_id: Its folder's name.
            tip: Main's commit.
            below: What the page before gave as `next_index`.
            limit: Most commits.
        """
        with self._lock:
            self._follow(tip)
            end = self._versions.count(worker_id)
            end = end if below is None else min(end, below)
            start = max(0, end - limit)
            found = [self._versions.at(worker_id, index) for index in range(start, end)]
        return VersionPage(tuple(reversed(found)), start or None)

    def follow(self, tip: str | None) -> None:
        """Take in what was committed since the last time."""
        with self._lock:
            self._follow(tip)

    def _follow(self, tip: str | None) -> None:
        if tip is None or tip == self._versions.tip:
            return
        with self._file_locked() as ours:
            if ours:
                self._versions = self._file.load_if_changed() or self._versions
                if self._versions.tip == tip:
                    return
            changes = self._changes(self._versions.tip, tip)
            if changes is None:  # history was rewritten by hand, or the file is of another
                self._versions = Versions()
                self._file.forget()
                changes = self._changes(None, tip) or []
            for commit, worker_ids in changes:
                self._versions.add(commit, worker_ids)
            self._versions.tip = tip
            if ours:
                self._file.append(changes, tip)

    @contextmanager
    def _file_locked(self) -> Iterator[bool]:
        """Yield whether the file is ours to read and write; without it all is done in memory."""
        with ExitStack() as held:
            try:
                ours = held.enter_context(exclusive_if_free(self._lock_path))
            except OSError:
                ours = False
            yield ours

    def _changes(self, known: str | None, tip: str) -> list[Change] | None:
        """Return what changed from `known` to `tip`, oldest first; None if no way leads there."""
        commits = self._line(known, tip)
        if commits is None:
            commits = self._graph(known, tip)
        if commits is None:
            return None
        return [(sha, self._changed(info)) for sha, info in commits]

    def _line(self, known: str | None, tip: str) -> list[tuple[str, CommitInfo]] | None:
        """Return commits without merges between two, oldest first; None if there is a merge."""
        found = []
        at: str | None = tip
        while at is not None and at != known:
            info = self._find(at)
            if info is None:
                break
            if len(info.parents) > 1:
                return None
            found.append((at, info))
            at = info.parents[0] if info.parents else None
        return found[::-1] if at == known or known is None else None

    def _graph(self, known: str | None, tip: str) -> list[tuple[str, CommitInfo]] | None:
        """Return what `tip` has and `known` has not, parents first, else the older first."""
        if known is not None and self._find(known) is None:
            return None
        there = {sha for sha, _ in newest_first(self._store, known)} if known else set()
        fresh = {}
        pending = [tip]
        while pending:
            sha = pending.pop()
            info = self._find(sha) if sha not in there and sha not in fresh else None
            if info is not None:
                fresh[sha] = info
                pending.extend(info.parents)
        is_ahead = known is None or any(known in info.parents for info in fresh.values())
        return _children_first(fresh, tip)[::-1] if is_ahead else None

    def _changed(self, info: CommitInfo) -> tuple[str, ...]:
        here = self._workers(info.tree)
        parents = [parent for each in info.parents if (parent := self._find(each))]
        sides = [self._workers(parent.tree) for parent in parents] or [EMPTY_TREE]
        names = set.intersection(*(self._differing(side, here) for side in sides))
        return tuple(sorted(filter(is_worker_id, map(decode, names))))

    def _differing(self, old: str, new: str) -> set[bytes]:
        if old == new:
            return set()
        return differing_names(self._store.read(old, "tree"), self._store.read(new, "tree"))

    def _workers(self, tree: str) -> str:
        entry = self._store.tree(tree).get(WORKERS)
        return entry.id if entry is not None and entry.is_folder else EMPTY_TREE

    def _find(self, sha: str) -> CommitInfo | None:
        try:
            return self._store.commit(sha)
        except ObjectNotFound:  # a shallow repository ends here
            return None


def _children_first(commits: dict[str, CommitInfo], tip: str) -> list[tuple[str, CommitInfo]]:
    """Return commits below `tip`, each after its children, else the newer first."""
    waiting = dict.fromkeys(commits, 0)
    for info in commits.values():
        for parent in info.parents:
            if parent in waiting:
                waiting[parent] += 1
    ready = [(-commits[tip].committed_at.timestamp(), tip)]
    ordered = []
    while ready:
        _, sha = heapq.heappop(ready)
        ordered.append((sha, commits[sha]))
        for parent in commits[sha].parents:
            if parent in waiting:
                waiting[parent] -= 1
                if not waiting[parent]:
                    heapq.heappush(ready, (-commits[parent].committed_at.timestamp(), parent))
    return ordered
