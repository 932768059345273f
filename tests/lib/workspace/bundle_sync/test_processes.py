"""Machines as processes on one store: many at once, and killed at every step."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib.storage.files import FileBlobStore
from lib.storage.ports import BlobStore
from lib.storage.s3 import S3BlobStore
from tests.kit.buckets import BUCKET, shared_client
from tests.lib.workspace.bundle_sync.machine import (
    Machine,
    clone_with_stock_git,
    new_machine,
    pointer,
    put,
)
from tests.lib.workspace.bundle_sync.writer import COUNTER
from tests.lib.workspace.processes import go, kill, start

# The order of a publication. Each is a moment at which a machine may end.
STEPS = [
    "before stage", "after stage",  # the pack, and the branch's new value, on the own disk
    "before bundle", "after bundle",
    "before pointer", "after pointer",
    "before move", "after move",  # the branch
]  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """A store that processes open by its address, and this one sees as it is."""

    address: str
    store: BlobStore
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def folder(cls, base: Path) -> Shared:
        return cls(f"file://{base}/store", FileBlobStore(base / "store"))

    @classmethod
    def bucket(cls, url: str) -> Shared:
        shared_client(url)
        prefix = f"machines/{secrets.token_hex(8)}"
        return cls(
            f"s3://{BUCKET}/{prefix}",
            S3BlobStore(BUCKET, prefix, connect=lambda: shared_client(url)),
            {"AWS_ENDPOINT_URL_S3": url},
        )


def start_machine(
    machine: Machine, name: str, shared: Shared, count: int, *, step: str = "-"
) -> subprocess.Popen[str]:
    return start(
        "tests.lib.workspace.bundle_sync.writer",
        machine.place.base, name, shared.address, count, step,
        environment=shared.environment,
    )  # fmt: skip


def check_whole(base: Path, store: BlobStore, acknowledged: dict[str, int]) -> int:
    """Nothing acknowledged is missing, nothing is doubled, and git agrees; returns the commits."""
    last = new_machine(base, f"check-{pointer(store)['seq']}", store)
    with last.opened() as workspace:
        tip = workspace.tip()
        tree = workspace.view()
        taken = [
            int(tree.read(path))
            for path, _ in tree.walk("contexts")
            if path.split("/")[1] != "shared"
        ]
        assert sorted(taken) == [*range(1, len(taken) + 1)]
        assert tree.read(COUNTER) == b"%d" % len(taken)
        for name, count in acknowledged.items():
            assert {f"{each}" for each in range(count)} <= {
                each for each, _ in tree.names(f"contexts/{name}")
            }
    last.place.fsck()
    clone = clone_with_stock_git(last.place, store)
    assert last.place.git("rev-parse", "HEAD", cwd=clone).strip() == tip
    subjects = last.place.git("log", "--format=%s", cwd=clone).splitlines()
    made = [each for each in subjects if each.startswith("context: ")]
    assert len(made) == len({*made}) == len(taken)
    return len(made)


def many_at_once(base: Path, shared: Shared, machines: int, commits: int) -> None:
    writers = []
    for number in range(machines):
        machine = new_machine(base, f"m{number}", shared.store)
        writers.append(start_machine(machine, f"m{number}", shared, commits))
    go(*writers)
    for writer in writers:
        with writer:
            output = writer.stdout.read() if writer.stdout else ""
        assert output.split() == [str(number) for number in range(commits)]
    acknowledged = {f"m{number}": commits for number in range(machines)}
    assert check_whole(base, shared.store, acknowledged) == machines * commits


def test_machines_at_once_lose_nothing(tmp_path: Path) -> None:
    many_at_once(tmp_path, Shared.folder(tmp_path), machines=3, commits=8)


def test_machines_on_a_bucket_lose_nothing(tmp_path: Path, moto_url: str) -> None:
    many_at_once(tmp_path, Shared.bucket(moto_url), machines=2, commits=4)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["folder", "moto", "ministack", "seaweedfs"])
def test_eight_machines_at_once_lose_nothing(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    shared = Shared.folder(tmp_path)
    if kind != "folder":
        shared = Shared.bucket(request.getfixturevalue(f"{kind}_url"))
    many_at_once(tmp_path, shared, machines=8, commits=25)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    """What was acknowledged is there, for others and after a new start; no other is blocked."""
    shared = Shared.folder(tmp_path)
    victim, other = (new_machine(tmp_path, name, shared.store) for name in ("victim", "other"))
    writer = start_machine(victim, "victim", shared, 0, step=step)
    go(writer)
    with writer:
        output = writer.stdout.read() if writer.stdout else ""
    assert output == "0\n"
    assert writer.returncode == -9
    with other.opened() as workspace:
        commit = put(workspace, "contexts/shared/other")
        with victim.opened() as again:
            assert again.tip() == commit
            assert put(again, "contexts/shared/again") == workspace.refresh()
    made = check_whole(tmp_path, shared.store, {"victim": 1})
    assert made == (2 if STEPS.index(step) > STEPS.index("before pointer") else 1)
    victim.place.fsck()


def kill_at_random(base: Path, rounds: int) -> None:
    """Machines are killed while others go on; their folders are opened again."""
    shared = Shared.folder(base)
    victim, other = (new_machine(base, name, shared.store) for name in ("victim", "other"))
    acknowledged: dict[str, int] = {}
    for number in range(rounds):
        names = {machine: f"{name}{number}" for machine, name in ((0, "v"), (1, "o"))}
        writers = [
            start_machine(victim, names[0], shared, 0),
            start_machine(other, names[1], shared, 0),
        ]
        go(*writers)
        lines = []
        for writer in writers:
            assert writer.stdout
            lines.append([writer.stdout.readline() for _ in range(2 + number % 5)])
        for at, writer in enumerate(writers):
            said = [*lines[at], *kill(writer)]
            acknowledged[names[at]] = sum(line.endswith("\n") for line in said)
        check_whole(base, shared.store, acknowledged)


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    kill_at_random(tmp_path, rounds=2)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_killed_thirty_times(tmp_path: Path) -> None:
    kill_at_random(tmp_path, rounds=30)
