"""Two histories that both went on: put together where they changed different paths."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from lib.clock import Clock
from lib.workspace.ancestry import newest_first
from lib.workspace.bundle_sync.errors import Diverged
from lib.workspace.commit_objects import FLOOM, compose_message, encode_commit
from lib.workspace.git_paths import decode, shown
from lib.workspace.object_store import ObjectSource, ObjectStore, Overlay
from lib.workspace.packs import PackBuilder
from lib.workspace.repository import Repository, explained
from lib.workspace.tree_objects import EMPTY_TREE, FOLDER, TreeEntry, rewrite

_SHOWN_PATHS: Final = 10


class Relation(Enum):
    """How our tip stands to theirs."""

    SAME = auto()
    BEHIND = auto()
    AHEAD = auto()
    APART = auto()


def relate(store: ObjectStore, ours: str, theirs: str) -> Relation:
    """Return how two commits stand; costs as many commits as lie between, if none is apart."""
    if ours == theirs:
        return Relation.SAME
    down_from_theirs, down_from_ours = newest_first(store, theirs), newest_first(store, ours)
    is_open = True
    while is_open:
        above, below = next(down_from_theirs, None), next(down_from_ours, None)
        if above is not None and above[0] == ours:
            return Relation.BEHIND
        if below is not None and below[0] == theirs:
            return Relation.AHEAD
        is_open = above is not None or below is not None
    return Relation.APART


def merge(repository: Repository, ours: str, theirs: str, clock: Clock) -> str:
    """Write a commit of both and return it; no branch moves. The caller holds the turnstile.

    Args:
        repository: Has both.
        ours: The second parent.
        theirs: The first parent: main's line is that which was published.
        clock: Dates the commit.

    Raises:
        Diverged: both changed a path, or they have nothing in common.
        WorkspaceUnavailable: the repository cannot be written.
    """
    store = repository.store
    bases = _common(store, ours, theirs)
    if not bases:
        raise Diverged(_UNRELATED)
    builder = PackBuilder()
    trees = _TreeMerge(Overlay(store, builder.objects), builder)
    here, there = (_folder(store.commit(each).tree) for each in (ours, theirs))
    # With histories that crossed there are several bases: all must lead to the same.
    roots = [trees.merge(_folder(store.commit(base).tree), here, there, "") for base in bases]
    if trees.conflicts:
        raise Diverged(_conflict([*dict.fromkeys(trees.conflicts)]))
    if len({*roots}) > 1:
        raise Diverged(_CROSSED)
    root = roots[0]
    message = compose_message(f"workspace: join {ours[:7]} with what was published")
    commit = builder.add(
        "commit",
        encode_commit(
            tree=root.id if root else EMPTY_TREE,
            parent=theirs,
            merged=ours,
            author=FLOOM,
            at=clock.now(),
            message=message,
        ),
    )
    with explained("The workspace cannot be written"):
        repository.add_pack(builder.build())
    return commit


def _common(store: ObjectStore, ours: str, theirs: str) -> list[str]:
    """Return the common ancestors of which no other one comes."""
    here = {sha: info.parents for sha, info in newest_first(store, ours)}
    common = [sha for sha, _ in newest_first(store, theirs) if sha in here]
    above = {parent for sha in common for parent in here[sha]}
    return [sha for sha in common if sha not in above]


class _TreeMerge:
    """Puts trees together by entry; `conflicts` are the paths that both changed."""

    def __init__(self, source: ObjectSource, builder: PackBuilder) -> None:
        self._source = source
        self._builder = builder
        self.conflicts: list[str] = []

    def merge(
        self, base: TreeEntry | None, ours: TreeEntry | None, theirs: TreeEntry | None, path: str
    ) -> TreeEntry | None:
        if ours in (base, theirs):
            return theirs
        if theirs == base:
            return ours
        if ours is None or theirs is None or not (ours.is_folder and theirs.is_folder):
            self.conflicts.append(shown(path))
            return theirs
        return self._folders(base, ours, theirs, path)

    def _folders(
        self, base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry, path: str
    ) -> TreeEntry | None:
        before, here, there = self._entries(base), self._entries(ours), self._entries(theirs)
        differing: dict[bytes, TreeEntry | None] = {}
        for name in sorted({*before, *here, *there}):
            inside = f"{path}/{decode(name)}".lstrip("/")
            merged = self.merge(before.get(name), here.get(name), there.get(name), inside)
            if merged != there.get(name):
                differing[name] = merged
        if not differing:
            return theirs
        data = rewrite(self._source.read(theirs.id, "tree"), there, differing)
        if not data:
            return None
        return TreeEntry(FOLDER, self._builder.add("tree", data, base=theirs.id))

    def _entries(self, entry: TreeEntry | None) -> Mapping[bytes, TreeEntry]:
        return self._source.tree(entry.id) if entry is not None and entry.is_folder else {}


def _folder(tree: str) -> TreeEntry:
    return TreeEntry(FOLDER, tree)


def _conflict(paths: list[str]) -> str:
    listed = ", ".join(paths[:_SHOWN_PATHS])
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (
        f"This repository and the bundle store both changed {listed}{more}. Nothing was changed; "
        "merge them with git, as docs/git-workspace.md says."
    )


_CROSSED: Final = (
    "This repository and the bundle store were merged crosswise before, and now both went on. "
    "Nothing was changed; merge them with git, as docs/git-workspace.md says."
)
_UNRELATED: Final = (
    "This repository and the bundle store have no commit in common: they are two workspaces. "
    "Give this one another FLOOM_WORKSPACE_ID or folder, or export one and import it into the other."
)
