"""Many processes make issues at once, and some are killed."""

from __future__ import annotations

import random
import subprocess
from collections import Counter

import pytest

from lib.clock import ManualClock
from lib.ids import Ids
from lib.workspace.issues import IssueQuery, Issues
from tests.lib.workspace.place import Place
from tests.lib.workspace.processes import go, kill, start


def start_writer(place: Place, name: str, count: int) -> subprocess.Popen[str]:
    return start("tests.lib.workspace.issues.writer", place.base, name, count)


def comment_counts(place: Place) -> dict[str, int]:
    """Every issue there is, with the number of its comments."""
    workspace, clock = place.open(), ManualClock()
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    found = issues.list(IssueQuery())
    assert found.skipped == ()
    assert place.on_disk() == place.in_git()
    workspace.close()
    return {row.issue.id: row.issue.comment_count for row in found.rows}


def write_at_once(place: Place, processes: int, count: int) -> None:
    place.open().close()
    writers = [start_writer(place, f"p{index}", count) for index in range(processes)]
    go(*writers)
    said: list[str] = []
    for writer in writers:
        output, _ = writer.communicate(timeout=300)
        assert writer.returncode == 0
        said += output.splitlines()
    total = processes * count
    wanted = [f"ISSUE-{number:04}" for number in range(1, total + 1)]
    assert sorted(line for line in said if not line.endswith("said")) == wanted
    assert comment_counts(place) == dict.fromkeys(wanted, 1)
    assert len(place.subjects()) == 2 * total + 1
    place.fsck()


def test_processes_at_once_lose_nothing_and_share_no_id(place: Place) -> None:
    write_at_once(place, processes=4, count=10)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_eight_processes_with_fifty_issues_each(place: Place) -> None:
    write_at_once(place, processes=8, count=50)


def kill_at_random(place: Place, rounds: int, seed: int) -> None:
    """Two processes write; one of them is killed, and the other goes on."""
    chance = random.Random(seed)
    place.open().close()
    acknowledged: Counter[str] = Counter()
    for number in range(rounds):
        victim, other = (start_writer(place, f"{who}{number}", 0) for who in ("v", "o"))
        go(victim, other)
        assert victim.stdout
        lines = [victim.stdout.readline() for _ in range(chance.randrange(1, 9))]
        for _ in range(chance.randrange(400_000)):
            pass  # some instant within a commit, not always just after one
        lines += kill(victim)
        assert other.stdout
        # no lock that the dead one held blocks this one
        others = [other.stdout.readline() for _ in range(4)]
        for line in [*lines, *others, *kill(other)]:
            if line.endswith("\n"):
                acknowledged[line.split()[0]] += line.endswith("said\n")
        found = comment_counts(place)
        assert all(found[each] >= said for each, said in acknowledged.items())
        assert [*found] == [f"ISSUE-{at:04}" for at in range(1, len(found) + 1)]
        assert len(found) - len(acknowledged) <= 2 * (number + 1)
        place.fsck()


def test_a_killed_process_loses_nothing_acknowledged_and_blocks_nobody(place: Place) -> None:
    kill_at_random(place, rounds=3, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_processes_killed_fifty_times(place: Place) -> None:
    kill_at_random(place, rounds=50, seed=2)
