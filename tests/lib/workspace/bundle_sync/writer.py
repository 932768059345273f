"""A machine as a process: `python -m tests.lib.workspace.bundle_sync.writer`.

Arguments: base folder, name, address of the store, number of commits (0: until
killed), step at which it kills itself (`-`: never). Prints each commit once it is
acknowledged.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.clock import SystemClock
from lib.errors import FloomError
from lib.storage.blob_stores import open_blob_store
from lib.workspace.bundle_sync import Bundles
from lib.workspace.bundle_sync.bundle_sync import BundleSync
from lib.workspace.ref import Ref
from lib.workspace.repository import Repository
from lib.workspace.workspace import Author, Edit, Put, TreeView, Workspace
from tests.lib.workspace.place import Place

COUNTER = "contexts/shared/counter"


class Suicide:
    """Kills this process before or after a call, once it is armed."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.is_armed = False

    def __call__(self, step: str) -> None:
        if self.is_armed and step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    base, name, address, count, step = sys.argv[1:]
    place, suicide = Place(Path(base)), Suicide(step)
    clock = SystemClock()
    bundles = Bundles(
        Puts(open_blob_store(address), suicide),
        address=address, workspace_id="default", clock=clock, refresh_seconds=0,
    )  # fmt: skip

    def attach(repository: Repository) -> BundleSync:
        ref: Any = Moves(repository.ref, suicide)
        repository.ref = ref
        return bundles.attach(repository)

    workspace = Workspace.open(
        place.root, state_dir=place.state, engine_root=place.engine, seed=place.seed, clock=clock,
        publish=attach,
    )  # fmt: skip
    bundles.start()
    say("ready")
    sys.stdin.readline()
    for number in range(int(count)) if int(count) else itertools.count():
        suicide.is_armed = number == 1
        commit(workspace, name, number)
        say(str(number))
    bundles.stop()
    workspace.close()
    bundles.close()


def commit(workspace: Workspace, name: str, number: int) -> None:
    def change(tree: TreeView) -> Iterable[Edit]:
        taken = int(tree.find_bytes(COUNTER) or b"0") + 1
        return [Put(COUNTER, b"%d" % taken), Put(f"contexts/{name}/{number}", b"%d" % taken)]

    author = Author(name, f"{name}@example.org")
    while True:
        try:
            workspace.commit(change, f"context: {name} {number}", author)
        except FloomError as ex:
            if getattr(ex, "code", "") != "workspace_conflict":
                raise
        else:
            return


class Puts:
    """A store whose puts are told of by what they put."""

    def __init__(self, store: Any, tell: Suicide) -> None:
        self._store = store
        self._tell = tell

    def put(self, key: str, *args: Any, **options: Any) -> Any:
        what = "pointer" if key.endswith("HEAD.json") else "bundle"
        self._tell(f"before {what}")
        result = self._store.put(key, *args, **options)
        self._tell(f"after {what}")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Moves:
    """A branch whose moves are told of."""

    def __init__(self, ref: Ref, tell: Suicide) -> None:
        self._ref = ref
        self._tell = tell

    def stage(self, new: str) -> Path:
        self._tell("before stage")
        value = self._ref.stage(new)
        self._tell("after stage")
        return value

    def move(self, old: str | None, value: Path) -> bool:
        self._tell("before move")
        moved = self._ref.move(old, value)
        self._tell("after move")
        return moved

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ref, name)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
