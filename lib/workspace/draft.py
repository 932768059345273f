"""Commits in the making: changes applied on top of a tip, nothing written yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from lib.workspace.commit_objects import Author
from lib.workspace.object_store import ObjectSource, Overlay
from lib.workspace.packs import Pack, PackBuilder
from lib.workspace.repository import Repository
from lib.workspace.tree_edits import Edit, apply_edits
from lib.workspace.tree_view import TreeView

Change = Callable[[TreeView], Iterable[Edit]]


@dataclass(frozen=True)
class CommitResult:
    """What a change led to.

    Attributes:
        commit: The new commit; where nothing changed, the tip it was applied
            to (None in an empty repository).
        tree: Id of that commit's tree.
        created: Whether there is a new commit.
    """

    commit: str | None
    tree: str
    created: bool


@dataclass
class Request:
    """One caller's change, and where the answer goes.

    Attributes:
        message: The subject, or a function that is called after `change`.
        from_disk: The change takes over what the folder holds, so the folder
            already has it.
    """

    change: Change
    message: str | Callable[[], str]
    author: Author
    trailers: Mapping[str, str] | None
    from_disk: bool
    answer: Future[CommitResult] = field(default_factory=Future)


@dataclass(frozen=True)
class Group:
    """Commits about to become the tip.

    Attributes:
        parent: The tip that they are made on.
        tip: The last of them.
        pack: All their new objects, self-contained.
        source: Reads them, and all that they build on.
    """

    parent: str | None
    tip: str
    pack: Pack
    source: ObjectSource


class Publisher(Protocol):
    """Makes a group durable elsewhere before the branch moves."""

    def publish(self, group: Group) -> bool:
        """Store the group; False when another tip was published first.

        On False the branch has been brought to that tip, and the changes are
        applied again. May raise a FloomError, which every caller of the group
        gets; nothing is kept then. The caller holds the turnstile.
        """
        ...

    def settle(self) -> None:
        """Bring the branch and what was published together. The caller holds the turnstile.

        Raises:
            FloomError: it cannot be done; the branch stands.
        """
        ...

    def before_move(self, finish: Callable[[], None]) -> None:
        """Call `finish` before the branch is brought to what others published."""
        ...

    def restore(self) -> None:
        """Bring in all that was published, for a repository that lost a part of it.

        Raises:
            FloomError: it cannot be done.
        """
        ...

    def confirm(self, tip: str | None) -> bool:
        """Return whether `tip` is what was published last; else the branch is brought there.

        Raises:
            FloomError: that cannot be known now.
        """
        ...

    def works(self) -> bool:
        """Return whether the last look at what was published succeeded."""
        ...

    def refresh(self) -> None:
        """Follow what others published, where that is due; what fails is told elsewhere."""
        ...


class Draft:
    """Commits on top of a tip whose objects are not written yet."""

    def __init__(self, repository: Repository, tip: str | None) -> None:
        self.parent = tip
        self.tip = tip
        self.tree = repository.tree_of(tip)
        self.pack = PackBuilder()
        self.source = Overlay(repository.store, self.pack.objects)

    def try_change(self, change: Change) -> str:
        """Return the tree that a change leads to; the draft does not move.

        Raises:
            Exception: whatever `change` raises, or `apply_edits`.
        """
        edits = list(change(TreeView(self.source, self.tree)))
        return apply_edits(self.source, self.pack, self.tree, edits) if edits else self.tree

    def advance(self, tree: str, commit: bytes) -> str:
        """Make a commit the draft's tip and return its id."""
        self.tree = tree
        self.tip = self.pack.add("commit", commit)
        return self.tip
