"""What the run engine asks of environments, and what they ask of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lib.environments.environment import Environment
from lib.environments.recipe import Recipe


class Customer(Protocol):
    """Whoever asks for an environment."""

    @property
    def keeps_log(self) -> bool:
        """Whether it wants an installer's log; of all that wait, one such gets it."""
        ...

    def gives_up(self) -> bool:
        """Whether it does not want it any more; asked every tenth of a second."""
        ...

    def tell(self, lines: Sequence[str]) -> None:
        """Take lines about the installation, in order."""
        ...


class PackageSource(Protocol):
    """Has packages, or gets them."""

    def prepare(
        self, recipes: Sequence[Recipe], customer: Customer
    ) -> AbstractContextManager[Environment]:
        """Return the packages of all recipes, which stay until the block ends.

        Raises, when the block is entered:
            InstallError: they could not be installed.
            InstallCancelled: the customer gave up.
        """
        ...

    def keep(self, keys: Sequence[str]) -> AbstractContextManager[None]:
        """Keep environments that somebody uses already, `Environment.keys`, until the block ends."""
        ...
