"""Many runs leave nothing behind: no memory, descriptor, process, mount, group or folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.sandbox.cgroup import Groups
from lib.sandbox.process_tree import descendants, proportional_bytes
from tests.e2e.server import ServerProcess

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")

MIB = 1 << 20
AT_ONCE = 20
MAX_DESCRIPTORS = 24  # half of what one a run would come to
MAX_GROWTH_MIB = 40  # caches fill up, and then stay as they are
RUN = "import json\njson.dump({'status': 'success'}, open('result.json', 'w'))\nprint('x' * 100)\n"


@dataclass(frozen=True)
class Footprint:
    """What a server and its sandbox hold while nothing runs.

    Attributes:
        descriptors: The server's own.
        most_descriptors: Of any one process below it: zygote, supervisors, what waits.
    """

    memory_mib: int
    descriptors: int
    most_descriptors: int
    threads: int
    processes: int
    mounts: int
    groups: int
    folders: int

    @classmethod
    def of(cls, server: ServerProcess) -> Footprint:
        assert server.process is not None
        pid = server.process.pid
        pids = [pid, *descendants(pid)]
        found = Groups.find()
        return cls(
            memory_mib=proportional_bytes(pids) // MIB,
            descriptors=count(Path(f"/proc/{pid}/fd")),
            most_descriptors=max(map(descriptors, pids[1:])),
            threads=count(Path(f"/proc/{pid}/task")),
            processes=len(pids),
            mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()),
            groups=len(list(found.memory.glob("floom-*"))) if found else 0,
            folders=count(server.data / "runs"),
        )


def count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def descriptors(pid: int) -> int:
    try:
        return count(Path(f"/proc/{pid}/fd"))
    except OSError:
        return 0  # it has ended


def run_many(server: ServerProcess, count: int) -> None:
    for _ in range(count // AT_ONCE):
        ids = [server.start_run("tiny") for _ in range(AT_ONCE)]
        assert {server.finished(run_id)["status"] for run_id in ids} == {"completed"}


def grow(tmp_path: Path, *, warm_up: int, runs: int) -> tuple[Footprint, Footprint]:
    """Return the footprint before and after that many runs."""
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("tiny", "", run_py=RUN)
        server.reload()
        run_many(server, warm_up)
        before = Footprint.of(server)
        run_many(server, runs)
        return before, Footprint.of(server)


def judge(before: Footprint, after: Footprint) -> None:
    """A supervisor may just be ending, or another just be made."""
    slack = {"memory_mib": MAX_GROWTH_MIB, "descriptors": 8, "threads": 6, "processes": 6}
    slack |= {"groups": 4, "mounts": 0, "folders": 2, "most_descriptors": 2}
    for field in dataclasses.fields(Footprint):
        old, new = getattr(before, field.name), getattr(after, field.name)
        assert new <= old + slack[field.name], (field.name, before, after)
    # A supervisor ends after some runs: what it leaked in each would not show as growth.
    assert after.most_descriptors < MAX_DESCRIPTORS, after


def test_100_runs_leave_nothing_behind(tmp_path: Path) -> None:
    judge(*grow(tmp_path, warm_up=40, runs=100))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_5_000_runs_leave_nothing_behind(tmp_path: Path) -> None:
    judge(*grow(tmp_path, warm_up=500, runs=5_000))
