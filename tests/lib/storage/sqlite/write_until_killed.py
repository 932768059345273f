"""A process that writes from eight threads and says what was acknowledged."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from lib.storage.records import LogLine
from lib.storage.sqlite import SqliteDatabase, SqliteLogStore, SqliteRunStore
from tests.contract.samples import Samples, ending, starting


def say(what: str, run_id: str) -> None:
    """Tell the parent, as one write that no other thread gets into."""
    os.write(1, f"{what} {run_id}\n".encode())


def work(runs: SqliteRunStore, logs: SqliteLogStore) -> None:
    """Create and finish runs without end."""
    samples = Samples()
    while True:
        change = samples.new()
        runs.create(change)
        say("created", change.run.id)
        logs.append(change.run.id, [LogLine(1, samples.now, "info", "stdout", "hello")])
        say("logged", change.run.id)
        for run in runs.claim(starting(samples.now), now=samples.now, limit=1):
            runs.change(run.id, ending(samples.now))
            say("completed", run.id)


if __name__ == "__main__":
    database = SqliteDatabase(Path(sys.argv[1]))
    stores = SqliteRunStore(database), SqliteLogStore(database)
    for _ in range(8):
        threading.Thread(target=work, args=stores).start()
