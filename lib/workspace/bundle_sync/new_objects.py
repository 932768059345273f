"""What one commit has that another has not: commits, and what each changed of its parents' trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lib.workspace.commit_objects import CommitInfo, parse_commit
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
        parents = [_commit(source, parent).tree for parent in info.parents]
        for each in _of_tree(source, parents, info.tree):
            if each.sha not in yielded:
                yielded.add(each.sha)
                yield each
        yield NewObject(sha, "commit")


def commits_between(
    source: ObjectSource, old: str | None, new: str
) -> list[tuple[str, CommitInfo]]:
    """Return the ancestors of `new` that `old` has not, `new` among them, parents first."""
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
            info = _commit(source, sha)
            pending.append((sha, info))
            pending.extend((parent, None) for parent in reversed(info.parents))
    return ordered


def is_ancestor(source: ObjectSource, old: str, new: str) -> bool:
    """Return whether `old` is `new` or one of its ancestors."""
    return old == new or old in _reached(source, new, until=old)


def _ancestors_within(source: ObjectSource, old: str, new: str) -> frozenset[str]:
    """Return enough ancestors of `old` to stop at on the way down from `new`.

    Nearly always `new` was built on `old`, and a straight line leads there.
    """
    at = new
    while at != old:
        parents = _commit(source, at).parents
        if len(parents) != 1:
            return frozenset(_reached(source, old))
        at = parents[0]
    return frozenset({old})


def _reached(source: ObjectSource, tip: str, *, until: str | None = None) -> set[str]:
    seen, pending = {tip}, [tip]
    while pending and until not in seen:
        for parent in _commit(source, pending.pop()).parents:
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    return seen


def _commit(source: ObjectSource, sha: str) -> CommitInfo:
    return parse_commit(source.read(sha, "commit"))


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
