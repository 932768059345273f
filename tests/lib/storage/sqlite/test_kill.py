"""What was acknowledged is there after `kill -9`, and the file is whole."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.storage.records import RunQuery, RunStatus
from lib.storage.sqlite import SqliteDatabase, SqliteLogStore, SqliteRunStore
from tests.contract.samples import Samples

ROOT = Path(__file__).parents[4]
CHILD = Path(__file__).with_name("write_until_killed.py")


@pytest.mark.parametrize("seed", range(4))
def test_acknowledged_writes_outlive_a_kill(path: Path, seed: int) -> None:
    acknowledged = _write_until_killed(path, lines=random.Random(seed).randrange(20, 400))

    with SqliteDatabase(path) as database:
        runs, logs = SqliteRunStore(database), SqliteLogStore(database)
        for what, run_id in acknowledged:
            if what == "created":
                assert runs.get(run_id).id == run_id
            elif what == "completed":
                assert runs.get(run_id).status is RunStatus.COMPLETED
            else:
                assert logs.last_seq(run_id) == 1
        check = database.read("PRAGMA integrity_check")
        counted = runs.totals(now=Samples().now)
        present = database.read("SELECT status FROM runs")
    assert check == [("ok",)]
    assert counted.queued == present.count(("queued",))
    assert counted.running == present.count(("running",))
    assert counted.succeeded_7d == present.count(("completed",))


def test_a_killed_store_goes_on(path: Path, samples: Samples) -> None:
    _write_until_killed(path, lines=10)

    with SqliteDatabase(path) as database:
        runs = SqliteRunStore(database)
        samples.clock.advance(days=1)
        change = samples.new()
        runs.create(change)
        assert runs.list(RunQuery(), limit=1).rows[0].id == change.run.id


def _write_until_killed(path: Path, *, lines: int) -> list[list[str]]:
    """Return what a writing child had acknowledged when it was killed."""
    command = [sys.executable, str(CHILD), str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    ) as child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        seen += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split() for line in seen if line.endswith("\n")]
