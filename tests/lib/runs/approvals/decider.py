"""A process that decides on one approval, with many callers at once.

`race FOLDER APPROVAL CALLS` prints `ready`, waits for a line, and then what it got.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from lib.clock import ManualClock
from lib.errors import Conflict
from lib.storage.content import ContentStore
from lib.storage.files import FileBlobStore
from lib.storage.sqlite import SqliteApprovalStore, SqliteDatabase, SqliteRunStore
from lib.workspace.workspace import Workspace
from tests.lib.runs.approvals.conftest import ballot
from tests.lib.runs.world import SEALER, World

CALLERS = 32


class DiskWorld(World):
    """A world whose runs, approvals and workspace other processes share."""

    def __init__(self, root: Path, workspace: Workspace, database: SqliteDatabase) -> None:
        super().__init__(root, workspace, ManualClock())
        runs: Any = SqliteRunStore(database)  # in place of the one in memory
        self.runs = runs
        self.content = ContentStore(FileBlobStore(root / "blobs", clock=self.clock), sealer=SEALER)

    @property
    def approvals(self) -> Any:
        return SqliteApprovalStore(cast("Any", self.runs))


@contextmanager
def open_disk_world(root: Path) -> Iterator[DiskWorld]:
    """Open it; any number of processes may."""
    workspace = Workspace.open(
        root / "workspace",
        state_dir=root / "state",
        engine_root=root / "engine",
        seed=None,
        clock=ManualClock(),
    )
    with SqliteDatabase(root / "floom.db") as database:
        try:
            yield DiskWorld(root, workspace, database)
        finally:
            workspace.close()


def race(world: DiskWorld, approval_id: str, calls: int) -> dict[str, int]:
    """Approve, reject, expire and cancel in turn, all at once; count what came of it."""
    run_id = world.approvals.get(approval_id).run_id
    decisions, lifecycle, expiry = world.decisions, world.lifecycle(), world.expiry

    def call(number: int) -> str:
        kind = ("approve", "reject", "cancel", "expire")[number % 4]
        try:
            if kind == "approve":
                decisions.approve(approval_id, ballot())
            elif kind == "reject":
                decisions.reject(approval_id, ballot(retry=True))
            elif kind == "cancel":
                lifecycle.cancel(run_id)
            else:
                expiry.expire(approval_id)
                return "looked"  # it is not due, or somebody decided
        except Conflict:
            return "conflict"
        return f"won by {kind}"

    with ThreadPoolExecutor(CALLERS) as pool:
        return dict(Counter(pool.map(call, range(calls))))


def main(folder: str, approval_id: str, calls: str) -> None:
    """Take part in a race."""
    with open_disk_world(Path(folder)) as world:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(json.dumps(race(world, approval_id, int(calls))))


if __name__ == "__main__":
    main(*sys.argv[1:])
