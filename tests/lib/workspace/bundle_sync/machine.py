"""Several machines that share one workspace by way of a store of bundles."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.clock import Clock, ManualClock
from lib.storage.ports import BlobStore
from lib.workspace.bundle_sync import Bundles
from lib.workspace.bundle_sync.upkeep import Upkeep
from lib.workspace.repository import Repository
from lib.workspace.workspace import Put, Workspace
from tests.lib.workspace.place import ANNA, Place

PREFIX = "default/"


@dataclass
class Machine:
    """One machine: a folder, and what publishes it."""

    place: Place
    store: BlobStore
    clock: Clock = field(default_factory=ManualClock)
    refresh_seconds: float = 0
    wait: Callable[[float], None] = time.sleep

    @contextmanager
    def opened(self) -> Iterator[Workspace]:
        """The workspace, without upkeep."""
        with self.running() as (workspace, _):
            yield workspace

    @contextmanager
    def running(
        self, attach: Callable[[Bundles, Repository], Any] = Bundles.attach
    ) -> Iterator[tuple[Workspace, Bundles]]:
        bundles = Bundles(
            self.store,
            address="memory:",
            workspace_id="default",
            clock=self.clock,
            refresh_seconds=self.refresh_seconds,
            patience_seconds=60,
            wait=self.wait,
        )
        try:
            workspace = Workspace.open(
                self.place.root,
                state_dir=self.place.state,
                engine_root=self.place.engine,
                seed=self.place.seed,
                clock=self.clock,
                publish=lambda repository: attach(bundles, repository),
            )
            try:
                yield workspace, bundles
            finally:
                bundles.stop()
                workspace.close()
        finally:
            bundles.close()


@contextmanager
def kept(machine: Machine) -> Iterator[tuple[Workspace, Upkeep]]:
    """A workspace and its upkeep, which goes on step by step."""
    with machine.running() as (workspace, bundles):
        assert bundles.upkeep is not None
        yield workspace, bundles.upkeep


def new_machine(base: Path, name: str, store: BlobStore) -> Machine:
    place = Place(base / name)
    place.base.mkdir()
    place.make_seed()
    return Machine(place, store)


def put(workspace: Workspace, path: str, data: bytes = b"x") -> str:
    """Commit one file and return the commit."""
    result = workspace.commit(lambda _: [Put(path, data)], f"put {path}", ANNA)
    assert result.commit is not None
    return result.commit


def pointer(store: BlobStore) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(store.get(f"{PREFIX}HEAD.json"))
    return value


def bundle_keys(store: BlobStore) -> list[str]:
    """Keys of base and increments in order, as a person reads them from the pointer."""
    head = pointer(store)
    names = [f"bundles/{seq}-{token}.bundle" for _, seq, _, token, *_ in head["increments"]]
    return [head["base"]["key"], *names]


def clone_with_stock_git(place: Place, store: BlobStore) -> Path:
    """Restore in the documented way, with nothing but git; return the clone."""
    target = place.base / "restored"
    files = []
    for number, key in enumerate(bundle_keys(store)):
        file = place.base / f"{number}.bundle"
        file.write_bytes(store.get(PREFIX + key))
        files.append(file)
    place.git("clone", "-q", str(files[0]), str(target), cwd=place.base)
    for file in files[1:]:
        place.git("pull", "-q", "--ff-only", str(file), "main", cwd=target)
    return target
