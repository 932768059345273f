"""What one commit has that another has not: commits, and what each changed of its parents' trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lib.workspace.ancestry import commits_between, read_commit
from lib.workspace.object_store import ObjectSource
from lib.workspace.tree_objects import FOLDER, Kind, TreeEntry


@dataclass(frozen=True, slots=True)
class NewObject:
    """One object of a bundle.

    Attributes:
        base: Of the same kind and, by all that is known, much the same content:
            what was at its path before.
    """

    sha: str
    kind: Kind
    base: str | None = None


def between(source: ObjectSource, old: str | None, new: str) -> Iterator[NewObject]:
    """Yield what `new` and its ancestors have and `old` and its ancestors have not.

    Oldest commits first, each after its trees and files, every object once. An
    object that was there before and came back may be among them.

    Args:
        source: Has all of both.
        old: None: all of `new` is yielded.
        new: A commit.

    Raises:
        ObjectNotFound: a part of `new` is missing.
    """
    yielded: set[str] = set()
    for sha, info in commits_between(source, old, new):
        parents = [read_commit(source, parent).tree for parent in info.parents]
        for each in _of_tree(source, parents, info.tree):
            if each.sha not in yielded:
                yielded.add(each.sha)
                yield each
        yield NewObject(sha, "commit")


def _of_tree(source: ObjectSource, before: Iterable[str], tree: str) -> Iterator[NewObject]:
    """Yield what a tree has that none of `before` has at the same path."""
    pending: list[tuple[tuple[str, ...], TreeEntry]] = [((*before,), TreeEntry(FOLDER, tree))]
    while pending:
        old, entry = pending.pop()
        if entry.id in old:
            continue
        yield NewObject(entry.id, "tree" if entry.is_folder else "blob", next(iter(old), None))
        if entry.is_folder:
            olds = [source.tree(each) for each in old]
            pending.extend(_below(olds, source.tree(entry.id)))


def _below(
    olds: list[Mapping[bytes, TreeEntry]], new: Mapping[bytes, TreeEntry]
) -> Iterator[tuple[tuple[str, ...], TreeEntry]]:
    for name, entry in new.items():
        if not (entry.is_folder or entry.has_blob):
            continue  # a gitlink: its commit is somebody else's
        there = [old[name] for old in olds if name in old]
        alike = tuple(
            each.id
            for each in there
            if each.is_folder == entry.is_folder and (each.is_folder or each.has_blob)
        )
        yield alike, entry
