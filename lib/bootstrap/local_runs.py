"""A local server's runs: the sandbox, and all that runs go through."""

from __future__ import annotations

import functools
from contextlib import ExitStack

from lib.bootstrap.groundwork import Groundwork
from lib.bootstrap.local_stores import LocalStores
from lib.bootstrap.local_workspace import LocalWorkspace
from lib.bootstrap.places import ENGINE_ROOT
from lib.environments.build import Workshop
from lib.environments.environments import Environments
from lib.environments.installer_settings import InstallerSettings
from lib.environments.installers import find_installers
from lib.environments.store import EnvironmentStore
from lib.runs.attempt import Attempt, Collaborators
from lib.runs.blob_sweep import BlobSweep
from lib.runs.catalogue import Catalogue
from lib.runs.collection import Collection
from lib.runs.dependencies import EarlyInstalls
from lib.runs.executor import Executor
from lib.runs.lifecycle import Lifecycle
from lib.runs.masks import Masks
from lib.runs.preparation import Preparation
from lib.runs.recovery import Recovery
from lib.runs.removal import WorkerRemoval
from lib.runs.retention import Retention
from lib.runs.signals import Bell, RunSignals
from lib.sandbox.local import LocalSandbox
from lib.sandbox.runtimes import Runtimes, base_python


class LocalRuns:
    """Runs from their creation to their removal.

    Attributes:
        bell: Rings when a run may be waiting to be executed.
        failures: Rings when a run has failed.

    Raises:
        SandboxUnavailable: no process could be started that starts workers.
    """

    def __init__(
        self,
        ground: Groundwork,
        stores: LocalStores,
        space: LocalWorkspace,
        runtimes: Runtimes,
        on_exit: ExitStack,
    ) -> None:
        self._ground, self._stores, self._space = ground, stores, space
        self.sandbox = self._open_sandbox(runtimes)
        on_exit.callback(self.sandbox.close)
        self.sandbox.prepare()
        self._environments = self._open_environments()
        self.early_installs = EarlyInstalls(
            workspace=space.workspace, registry=space.registry, environments=self._environments
        )
        on_exit.callback(self.early_installs.close)
        self.bell, self.failures = Bell(), Bell()
        self.signals = RunSignals()
        self.masks = Masks(registry=space.registry, secrets=stores.secrets)
        self.catalogue = Catalogue(
            registry=space.registry,
            settings=stores.worker_settings,
            secrets=stores.secrets,
            runs=stores.runs,
            clock=ground.clock,
        )
        self._collection = Collection(
            sandbox=self.sandbox, content=stores.content, clock=ground.clock, ids=ground.ids
        )
        self.executor = self._build_executor(runtimes)
        self.lifecycle = self._build_lifecycle()
        self.removal = WorkerRemoval(
            source=space.worker_source,
            workspace=space.workspace,
            lifecycle=self.lifecycle,
            runs=stores.runs,
            settings=stores.worker_settings,
            shares=stores.shares,
            clock=ground.clock,
        )

    def build_recovery(self) -> Recovery:
        """Return what takes up the runs of a server that has ended."""
        return Recovery(
            store=self._stores.runs,
            logs=self._stores.logs,
            registry=self._space.registry,
            collection=self._collection,
            masks=self.masks,
            sandbox=self.sandbox,
            clock=self._ground.clock,
            signals=self.signals,
            bell=self.bell,
            failures=self.failures,
            runs_folder=self._ground.folder.runs,
            same_boot=self._ground.folder.same_boot,
        )

    def build_retention(self) -> Retention:
        """Return what removes what is too old."""
        stores, clock = self._stores, self._ground.clock
        return Retention(
            store=stores.runs,
            claims=stores.claims,
            accounts=stores.accounts,
            logs=stores.logs,
            uploads=stores.uploads,
            audit=stores.audit,
            rates=stores.rates,
            blobs=BlobSweep(content=stores.content, references=stores.references, clock=clock),
            clock=clock,
            days=self._ground.settings.retention_days,
            reclaim=stores.database.reclaim,
        )

    def _open_sandbox(self, runtimes: Runtimes) -> LocalSandbox:
        settings, folder = self._ground.settings, self._ground.folder
        return LocalSandbox(
            folder.sandbox,
            mode=settings.sandbox_mode,
            runtimes=runtimes.programs.values(),
            hidden=(folder.path, settings.workspace_path),
            runs=folder.runs,
            api_socket=folder.api_socket,
        )

    def _open_environments(self) -> Environments:
        settings, folder = self._ground.settings, self._ground.folder
        installers = InstallerSettings(settings.installer_variables)
        return Environments(
            EnvironmentStore(folder.environments),
            installers=find_installers(installers, base_python()),
            workshop=Workshop(
                python=base_python(),
                isolation=settings.sandbox_mode,
                hidden=(str(ENGINE_ROOT), str(folder.path), str(settings.workspace_path)),
                mask=installers.mask,
            ),
        )

    def _build_executor(self, runtimes: Runtimes) -> Executor:
        ground, stores, space = self._ground, self._stores, self._space
        collaborators = Collaborators(
            store=stores.runs,
            logs=stores.logs,
            secrets=stores.secrets,
            registry=space.registry,
            preparation=Preparation(
                workspace=space.workspace,
                content=stores.content,
                uploads=stores.uploads,
                runtimes=runtimes,
                environments=self._environments,
            ),
            collection=self._collection,
            sandbox=self.sandbox,
            signals=self.signals,
            clock=ground.clock,
            runs_folder=ground.folder.runs,
            failures=self.failures,
        )
        return Executor(
            store=stores.runs,
            attempt=functools.partial(Attempt, collaborators=collaborators),
            bell=self.bell,
            signals=self.signals,
            clock=ground.clock,
            owner=ground.folder.owner,
            sandbox=self.sandbox,
            max_runs=ground.settings.max_concurrent_runs,
        )

    def _build_lifecycle(self) -> Lifecycle:
        ground, stores = self._ground, self._stores
        return Lifecycle(
            catalogue=self.catalogue,
            registry=self._space.registry,
            store=stores.runs,
            approvals=stores.approvals,
            uploads=stores.uploads,
            content=stores.content,
            clock=ground.clock,
            ids=ground.ids,
            bell=self.bell,
            signals=self.signals,
            runner=self.executor,
        )
