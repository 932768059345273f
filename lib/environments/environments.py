"""Environments for runs: found, or built once for everybody who asks at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from lib.environments.build import Build, Workshop
from lib.environments.environment import Environment, combined
from lib.environments.installers import Installer
from lib.environments.port import Customer
from lib.environments.recipe import InstallCancelled, InstallError, Kind, Recipe
from lib.environments.store import EnvironmentStore, Lease

CHECK_SECONDS: Final = 0.1  # how late a waiting run may notice that it was cancelled
MAX_ROUNDS: Final = 5  # a finished environment may be evicted before it is leased


class Environments:
    """All environments of one data folder. Any thread may call.

    Args:
        installers: By kind.
        workshop: How builds are made.
    """

    def __init__(
        self,
        store: EnvironmentStore,
        *,
        installers: Mapping[Kind, Installer],
        workshop: Workshop,
    ) -> None:
        self._store = store
        self._installers = installers
        self._workshop = workshop
        self._lock = threading.Lock()
        self._builds: dict[str, Build] = {}

    @contextmanager
    def prepare(self, recipes: Sequence[Recipe], customer: Customer) -> Iterator[Environment]:
        """Yield the packages of all recipes, which stay until the block ends.

        Raises:
            InstallError: they could not be installed.
            InstallCancelled: the customer gave up.
        """
        with ExitStack() as leases:
            found = [leases.enter_context(self._prepare(recipe, customer)) for recipe in recipes]
            yield combined(found)

    @contextmanager
    def keep(self, keys: Sequence[str]) -> Iterator[None]:
        """See the port."""
        with ExitStack() as leases:
            for key in keys:
                lease = self._store.find(key)
                if lease is not None:
                    leases.enter_context(lease)
            yield

    @contextmanager
    def _prepare(self, recipe: Recipe, customer: Customer) -> Iterator[Environment]:
        installer = self._installers[recipe.kind]
        with self._lease(recipe, installer, customer) as lease:
            yield installer.environment(lease.folder)

    def _lease(self, recipe: Recipe, installer: Installer, customer: Customer) -> Lease:
        key = recipe.key(installer.tools)
        for _ in range(MAX_ROUNDS):
            lease = self._store.find(key)
            if lease is not None:
                return lease
            self._build(key, recipe, installer, customer)
        raise InstallError("The packages are removed as soon as they are installed: disk full?")

    def _build(self, key: str, recipe: Recipe, installer: Installer, customer: Customer) -> None:
        """Build, or wait for whoever does. Raises as `prepare` does."""
        build = self._join(key, recipe, installer, customer)
        is_ours = build.log_owner is customer
        verb = "Installing" if is_ours else "Waiting for the installation of"
        try:
            customer.tell([f"{verb} {recipe.source}: environment {key[:12]}"])
            while not build.wait(CHECK_SECONDS):
                if customer.gives_up():
                    raise InstallCancelled
        finally:
            self._leave(key, build)
        customer.tell(build.log_lines if is_ours else ["Another run's installation has ended."])
        build.check()

    def _join(self, key: str, recipe: Recipe, installer: Installer, customer: Customer) -> Build:
        """Return the build that goes on, or a new one."""
        with self._lock:
            build = self._builds.get(key)
            if build is None or build.is_over:
                build = Build(key, recipe, installer, store=self._store, workshop=self._workshop)
                build.start()  # of one that could not be started nobody hears
                self._builds[key] = build
            build.customers += 1
            if build.log_owner is None and customer.keeps_log:
                build.log_owner = customer
            return build

    def _leave(self, key: str, build: Build) -> None:
        """Stop waiting; the last who leaves a build ends it."""
        with self._lock:
            build.customers -= 1
            if build.customers == 0:
                build.cancel()
                if self._builds.get(key) is build:
                    del self._builds[key]
