"""What main is when a server starts: what was published, what is elsewhere, or a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lib.errors import FloomError
from lib.storage.conditions import StoreWithoutConditions
from lib.workspace import seed as seeding
from lib.workspace.draft import Publisher
from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.repository import Repository


class Origin(Protocol):
    """Where a workspace that is new on this machine may come from."""

    def find(self, tip: str | None) -> str | None:
        """Return the commit that main is to begin with, all of it in the repository by now.

        `tip` is what main has: nothing, or a seed.
        None: there is nothing, so the workspace begins here.

        Raises:
            WorkspaceUnavailable: that cannot be known now.
        """
        ...


class Beginning:
    """Gives main a commit, and brings it in step with what was published.

    Args:
        repository: Whose main it is.
        publisher: None for a repository that is the only copy.
        origin: Where a new workspace may come from.
        seed: Folder of shipped workers for one that comes from nowhere; None: without.
    """

    def __init__(
        self,
        repository: Repository,
        publisher: Publisher | None,
        *,
        origin: Origin | None,
        seed: Path | None,
    ) -> None:
        self._repository = repository
        self._publisher = publisher
        self._origin = origin
        self._seed = seed

    def begin(self) -> bool:
        """Do so; False where what was published cannot be known now.

        Then what is here can be read and nothing is written, of which the publisher
        tells. The caller holds the turnstile.

        Raises:
            FloomError: the same, of a new workspace, which is not begun then; or the
                store would lose commits.
        """
        is_settled = self._settle()
        if self._origin is not None and self._is_new():
            self._come_from(self._origin)
        if self._repository.tip() is None:
            seeding.plant(self._repository, self._seed)
        return is_settled and self._settle()

    def _settle(self) -> bool:
        try:
            if self._publisher is not None:
                self._publisher.settle()
        except StoreWithoutConditions:
            raise
        except FloomError:
            if self._is_new():
                raise
            return False
        return True

    def _is_new(self) -> bool:
        tip = self._repository.tip()
        return tip is None or seeding.is_seed(self._repository.store.commit(tip))

    def _come_from(self, origin: Origin) -> None:
        """Begin with what is elsewhere, instead of a seed of our own."""
        tip = self._repository.tip()
        commit = origin.find(tip)
        if commit is not None and tip is not None and commit != tip:
            self._repository.keep(tip)  # a seed, but runs may be frozen at it
        if commit is not None and not self._repository.point(tip, commit):
            raise WorkspaceUnavailable("Somebody pushed to the new workspace; start again.")
