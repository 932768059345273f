"""Many runs leave nothing behind: no memory, descriptor, process, mount, group or folder."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lib.sandbox.cgroup import Groups
from lib.sandbox.process_names import start_time
from lib.sandbox.process_tree import descendants, proportional_bytes
from lib.sandbox.zygote import IDLE_SECONDS
from tests.e2e.server import ServerProcess

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")

MIB = 1 << 20
AT_ONCE = 20
MAX_DESCRIPTORS = 24  # half of what one a run would come to
MAX_GROWTH_MIB = 40  # caches fill up, and then stay as they are
REST_SECONDS = 3 * IDLE_SECONDS  # by then whoever a burst needed has been told to go
DEADLINE_SECONDS = 60
RUN = "import json\njson.dump({'status': 'success'}, open('result.json', 'w'))\nprint('x' * 100)\n"


@dataclass(frozen=True)
class Footprint:
    """What a server and its sandbox hold while nothing runs.

    Attributes:
        descriptors: The server's own.
        most_descriptors: Of any one process below it: zygote, supervisors, what waits.
        mounts: As the server sees them, of what lies below its data.
        groups: Of its supervisors, and of those that are gone: perhaps of another test's.
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
        return cls(
            memory_mib=proportional_bytes(pids) // MIB,
            descriptors=count(Path(f"/proc/{pid}/fd")),
            most_descriptors=max(map(descriptors, pids[1:])),
            threads=count(Path(f"/proc/{pid}/task")),
            processes=len(pids),
            mounts=Path(f"/proc/{pid}/mountinfo").read_text().count(f" {server.data}/"),
            groups=groups(set(pids)),
            folders=count(server.data / "runs"),
        )


def count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def groups(pids: set[int]) -> int:
    """Return how many control groups are of these supervisors, or of none that lives."""
    found = Groups.find()
    names = [path.name for path in found.memory.glob("floom-*-*")] if found else []
    owners = [int(name.split("-")[1]) for name in names if name.split("-")[1].isdigit()]
    return sum(owner in pids or start_time(owner) is None for owner in owners)


def descriptors(pid: int) -> int:
    try:
        return count(Path(f"/proc/{pid}/fd"))
    except OSError:
        return 0  # it has ended


def at_rest(server: ServerProcess) -> Footprint:
    """Return the footprint once nothing of the last run, or of a burst of them, changes it.

    Where something always does it is the last one: whoever judges it will tell.
    """
    now = time.monotonic()
    deadline, since, last = now + DEADLINE_SECONDS, now, Footprint.of(server)
    while now - since < REST_SECONDS and now < deadline:
        time.sleep(0.1)
        seen, now = Footprint.of(server), time.monotonic()
        if replace(seen, memory_mib=0, groups=0) != replace(last, memory_mib=0, groups=0):
            since = now
        last = seen
    return last


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
        before = at_rest(server)
        run_many(server, runs)
        return before, at_rest(server)


def judge(before: Footprint, after: Footprint) -> None:
    """The server's own pools fill up as they are needed; all else is as it was."""
    slack = {"memory_mib": MAX_GROWTH_MIB, "descriptors": 4, "threads": 4, "groups": 3}
    for field in dataclasses.fields(Footprint):
        old, new = getattr(before, field.name), getattr(after, field.name)
        assert new <= old + slack.get(field.name, 0), (field.name, before, after)
    # A supervisor ends after some runs: what it leaked in each would not show as growth.
    assert after.most_descriptors < MAX_DESCRIPTORS, after


def test_100_runs_leave_nothing_behind(tmp_path: Path) -> None:
    judge(*grow(tmp_path, warm_up=40, runs=100))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_5_000_runs_leave_nothing_behind(tmp_path: Path) -> None:
    judge(*grow(tmp_path, warm_up=500, runs=5_000))
