"""The parts put together for one workspace of one process."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Final

from lib.clock import Clock
from lib.storage.conditions import check_conditions
from lib.storage.ports import BlobStore
from lib.workspace.bundle_sync.bundle_sync import BundleSync
from lib.workspace.bundle_sync.courtesy import Courtesy
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.bundle_sync.head import Head
from lib.workspace.bundle_sync.memory import Memory
from lib.workspace.bundle_sync.moves import PointerMoves
from lib.workspace.bundle_sync.refresher import PATIENCE_SECONDS
from lib.workspace.bundle_sync.state import BundleState, StateKeeper
from lib.workspace.bundle_sync.upkeep import Upkeep
from lib.workspace.repository import Repository

REFRESH_SECONDS: Final = 1.0


class Bundles:
    """Publishes one repository's commits; give `attach` to `Workspace.open`.

    Args:
        store: One that honours conditions.
        address: Its address, for people.
        workspace_id: Whose bundles they are: a folder of the store.
        clock: Dates pointers.
        refresh_seconds: How old a read may be.
        patience_seconds: How long a reader waits for the store.
        wait: Sleeps for so many seconds between two tries.

    Attributes:
        upkeep: Keeps the chain short; None before `attach`.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        address: str,
        workspace_id: str,
        clock: Clock,
        refresh_seconds: float = REFRESH_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._prefix = f"{workspace_id}/"
        self._depot = Depot(store, self._prefix)
        self._address = address
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._patience_seconds = patience_seconds
        self._wait = wait
        self._state = StateKeeper(address, clock)
        self._is_checked = False
        self._sync: BundleSync | None = None
        self.upkeep: Upkeep | None = None

    def attach(self, repository: Repository) -> BundleSync:
        """Return what publishes a repository's commits; its upkeep begins with `start`."""
        # the host's name for people, the rest because two processes are two writers
        writer = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        head = Head(
            self._depot,
            Memory(repository.git_dir / "floom/bundles.json", f"{self._address}/{self._prefix}"),
            self._state,
            moves=PointerMoves(self._depot, wait=self._wait),
            writer=writer,
            clock=self._clock,
        )
        self._sync = BundleSync(
            repository,
            self._depot,
            head,
            courtesy=Courtesy(self._depot, writer, self._clock, wait=self._wait),
            state=self._state,
            clock=self._clock,
            check=self._check,
            refresh_seconds=self._refresh_seconds,
            patience_seconds=self._patience_seconds,
        )
        self.upkeep = Upkeep(
            head,
            self._depot,
            repository.store,
            clock=self._clock,
            tend=self._sync.tend,
        )
        return self._sync

    def start(self) -> None:
        """Begin the upkeep: folding, new bases, the sweep."""
        if self.upkeep is not None:
            self.upkeep.start()

    def stop(self) -> None:
        """End the upkeep; commits are still published. Idempotent."""
        if self.upkeep is not None:
            self.upkeep.close()

    def close(self) -> None:
        """End everything; idempotent."""
        self.stop()
        if self._sync is not None:
            self._sync.close()

    def state(self) -> BundleState:
        """Return how workspace and store stand."""
        return self._state.get()

    def _check(self) -> None:
        """Find out once whether the store honours conditions."""
        if not self._is_checked:
            check_conditions(self._store, self._prefix.rstrip("/"))
            self._is_checked = True
