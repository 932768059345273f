"""A local server's git workspace, with the copies of it that are elsewhere."""

from __future__ import annotations

import functools
from contextlib import ExitStack

from lib.bootstrap.groundwork import Groundwork
from lib.bootstrap.places import ENGINE_ROOT, SHIPPED_WORKERS
from lib.git_address import parse_address
from lib.manifest.loader import load_manifest
from lib.sandbox.runtimes import Runtimes
from lib.workspace.bundle_sync import Bundles, BundleState
from lib.workspace.issues import Issues
from lib.workspace.registry import Registry
from lib.workspace.remote.git_command import OWN_BRANCHES, GitCommand
from lib.workspace.remote.memory import Memory
from lib.workspace.remote.origin import RemoteOrigin
from lib.workspace.remote.remote_sync import RemoteState, RemoteSync
from lib.workspace.worker_source import WorkerSource
from lib.workspace.workspace import Workspace


class LocalWorkspace:
    """The repository, and what reads and writes workers and issues in it.

    Raises:
        WorkspaceUnavailable: it cannot be opened, nor made.
    """

    def __init__(self, ground: Groundwork, runtimes: Runtimes, on_exit: ExitStack) -> None:
        self._ground = ground
        self._git = self._open_git()
        self._bundles = self._open_bundles()
        if self._bundles is not None:
            on_exit.callback(self._bundles.close)  # after `workspace`, whose last commits it takes
        self.workspace = self._open()
        on_exit.callback(self.workspace.close)
        if self._bundles is not None:
            on_exit.callback(self._bundles.stop)
        self._remote = self._open_remote()
        if self._remote is not None:
            on_exit.callback(self._remote.close)
        self.load_manifest = functools.partial(load_manifest, runtimes=runtimes.names)
        self.registry = Registry(self.workspace, load_manifest=self.load_manifest)
        self.worker_source = WorkerSource(self.workspace, load_manifest=self.load_manifest)
        self.issues = Issues(self.workspace, clock=ground.clock, ids=ground.ids)

    def start(self) -> None:
        """Begin to keep the copies up to date."""
        if self._bundles is not None:
            self._bundles.start()
        if self._remote is not None:
            self._remote.start()

    def bundle_state(self) -> BundleState | None:
        """Return how far the bundles are; None: there are none."""
        return self._bundles.state() if self._bundles is not None else None

    def remote_state(self) -> RemoteState | None:
        """Return how far the remote is; None: there is none."""
        return self._remote.state() if self._remote is not None else None

    def _open_git(self) -> GitCommand | None:
        settings = self._ground.settings
        if settings.git_remote is None:
            return None
        return GitCommand(
            settings.workspace_path / ".git",
            parse_address(settings.git_remote.get_secret_value()),
            variables=settings.git_variables,
        )

    def _open_bundles(self) -> Bundles | None:
        settings, clock = self._ground.settings, self._ground.clock
        if settings.bundle_store is None:
            return None
        from lib.storage.blob_stores import open_blob_store

        return Bundles(
            open_blob_store(settings.bundle_store, clock=clock),
            address=settings.bundle_store,
            workspace_id=settings.workspace_id,
            clock=clock,
            refresh_seconds=settings.bundle_refresh_seconds,
        )

    def _open(self) -> Workspace:
        git, bundles = self._git, self._bundles
        return Workspace.open(
            self._ground.settings.workspace_path,
            state_dir=self._ground.folder.path,
            engine_root=ENGINE_ROOT,
            seed=SHIPPED_WORKERS,
            clock=self._ground.clock,
            publish=bundles.attach if bundles is not None else None,
            origin=RemoteOrigin(git, self._memory(git)) if git is not None else None,
        )

    def _open_remote(self) -> RemoteSync | None:
        if self._git is None:
            return None
        return RemoteSync(
            workspace=self.workspace,
            git=self._git,
            memory=self._memory(self._git),
            branch=f"{OWN_BRANCHES}{self._ground.settings.workspace_id}",
            clock=self._ground.clock,
        )

    def _memory(self, git: GitCommand) -> Memory:
        path = self._ground.settings.workspace_path / ".git/floom/remote.json"
        return Memory(path, git.address.url)
