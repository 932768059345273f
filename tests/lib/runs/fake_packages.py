"""Packages without installers: it records who asked, the test says what they get."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lib.environments.environment import Environment
from lib.environments.port import Customer
from lib.environments.recipe import InstallCancelled, InstallError, Recipe
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS


class FakePackages:
    """A PackageSource.

    Attributes:
        found: What whoever asks for something gets.
        failure: What they fail with instead.
        log: What they are told.
        asked: All recipes so far.
        leased: How many environments are in use.
        kept: Keys of what adopted runs use.
        goes_on: Cleared, an installation lasts until it is set or given up.
    """

    def __init__(self) -> None:
        self.found = Environment()
        self.failure: str | None = None
        self.log: tuple[str, ...] = ()
        self.asked: list[Recipe] = []
        self.leased = 0
        self.kept: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_waiting = threading.Event()

    @contextmanager
    def prepare(self, recipes: Sequence[Recipe], customer: Customer) -> Iterator[Environment]:
        self.asked += recipes
        if not recipes:
            yield Environment()
            return
        self._install(customer)
        self.leased += 1
        try:
            yield self.found
        finally:
            self.leased -= 1

    @contextmanager
    def keep(self, keys: Sequence[str]) -> Iterator[None]:
        self.kept += keys
        yield

    def _install(self, customer: Customer) -> None:
        if not self.goes_on.is_set():
            self.is_waiting.set()
            for _ in range(DEADLINE_SECONDS * 100):
                if self.goes_on.wait(0.01) or customer.gives_up():
                    break
        if customer.gives_up():
            raise InstallCancelled
        customer.tell(self.log)
        if self.failure is not None:
            raise InstallError(self.failure)
