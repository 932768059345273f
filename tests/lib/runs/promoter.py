"""Processes that promote feedback on one data folder.

`python -m tests.lib.runs.promoter race BASE RUN THREADS`: waits for a line, then
promotes the feedback `x` of a run from many threads at once; prints how often it
made the issue, and the ids that it was given.

`python -m tests.lib.runs.promoter die BASE RUN...`: for each run a process that
promotes `x` and is killed with SIGKILL, each at a later step than the one before.
Prints the step of each death, and `alive` for the first that outlives its steps.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lib.clock import SystemClock
from lib.ids import Ids
from lib.manifest.loader import load_manifest
from lib.runs.feedback import FeedbackBook
from lib.runs.masks import Masks
from lib.runs.promotion import Promoted, Promotions, Wanted
from lib.storage.content import ContentStore
from lib.storage.files import FileBlobStore
from lib.storage.memory import MemorySecretStore
from lib.storage.sqlite import SqliteDatabase, SqliteFeedbackStore, SqliteRunStore
from lib.workspace.issues import Issues
from lib.workspace.registry import Registry
from lib.workspace.workspace import Workspace
from tests.contract.fused import Fuse
from tests.contract.threads import together
from tests.lib.workspace.place import ANNA, Place
from tests.lib.workspace.writer import say

DIED = -signal.SIGKILL


@dataclass(frozen=True)
class Site:
    """One process's view of a data folder and its workspace."""

    base: Path
    runs: SqliteRunStore
    feedback: SqliteFeedbackStore
    workspace: Workspace

    @property
    def issues(self) -> Issues:
        clock = SystemClock()
        return Issues(self.workspace, clock=clock, ids=Ids(clock))

    def promotions(self, fuse: Fuse) -> Promotions:
        """Return promotions whose every step the fuse hears of."""
        clock = SystemClock()
        store, workspace = fuse.protect(self.feedback), fuse.protect(self.workspace)
        content = ContentStore(FileBlobStore(self.base / "blobs", clock=clock))
        load = functools.partial(load_manifest, runtimes=("python",))
        ids = Ids(clock)
        return Promotions(
            book=FeedbackBook(runs=self.runs, store=store, content=content, clock=clock, ids=ids),
            store=store,
            runs=self.runs,
            issues=Issues(workspace, clock=clock, ids=ids),
            workspace=workspace,
            masks=Masks(
                registry=Registry(self.workspace, load_manifest=load), secrets=MemorySecretStore()
            ),
            clock=clock,
        )

    def promote(self, run_id: str, between: Callable[[str], None] = lambda _: None) -> Promoted:
        """Promote the feedback `x` of a run."""
        wanted = Wanted(run_id=run_id, feedback_id="x", content="Wrong", author=ANNA, by=ANNA.name)
        return self.promotions(Fuse(between=between)).promote(wanted)


@contextmanager
def open_site(base: Path) -> Iterator[Site]:
    """Open a data folder beside whoever else has it open."""
    with SqliteDatabase(base / "floom.db") as database:
        workspace = Place(base).open(clock=SystemClock())
        try:
            yield Site(base, SqliteRunStore(database), SqliteFeedbackStore(database), workspace)
        finally:
            workspace.close()


def race(site: Site, run_id: str, threads: int) -> None:
    """Promote from many threads that start as one, when a line comes in."""
    promotions = site.promotions(Fuse())
    wanted = Wanted(run_id=run_id, feedback_id="x", content="Wrong", author=ANNA, by=ANNA.name)
    say("ready")
    sys.stdin.readline()
    answers = together(lambda _: promotions.promote(wanted), threads)
    made = [each for each in answers if isinstance(each, Promoted)]
    said = {
        "created": sum(each.created for each in made),
        "ids": sorted({each.issue_id for each in made}),
        "errors": sorted({repr(each) for each in answers if not isinstance(each, Promoted)}),
    }
    say(json.dumps(said))


def die_at(base: Path, run_id: str, step: int) -> str | None:
    """Promote in a process that is killed at a step; return which, or None if it was not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = count()

        def somewhere(name: str) -> None:
            if next(steps) == step:
                os.write(writing, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)

        with open_site(base) as site:
            site.promote(run_id, somewhere)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        name = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (DIED if name else 0)
    return name or None


def main() -> None:
    mode, base = sys.argv[1], Path(sys.argv[2])
    if mode == "race":
        with open_site(base) as site:
            race(site, sys.argv[3], int(sys.argv[4]))
        return
    for step, run_id in enumerate(sys.argv[3:]):
        name = die_at(base, run_id, step)
        say(name or "alive")
        if name is None:
            break


if __name__ == "__main__":
    main()
