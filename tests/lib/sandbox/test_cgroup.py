"""Control groups, where this host lets us make them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.sandbox.cgroup import Group, Groups
from tests.lib.sandbox.isolated import output_of

MIB = 1 << 20


@pytest.fixture(scope="module")
def groups() -> Groups:
    found = Groups.find()
    if found is None:
        pytest.skip("no control group of ours may be divided here")
    return found


@pytest.fixture
def group(groups: Groups) -> Iterator[Group]:
    made = made_in(groups, f"test-{os.getpid()}")
    yield made
    made.kill()
    made.remove()


def made_in(groups: Groups, name: str) -> Group:
    group = groups.create(name)
    group.limit(memory_bytes=64 * MIB, tasks=10)
    return group


def run_in(group: Group, work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            group.join()
            work()
        except BaseException:  # noqa: BLE001 - it is a child
            os._exit(1)
        os._exit(0)
    return pid


def end_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_memory_over_the_limit_is_killed_and_known(group: Group) -> None:
    pid = run_in(group, lambda: bytearray(256 * MIB))
    assert end_of(pid) == -signal.SIGKILL
    assert group.was_out_of_memory()
    peak = group.peak_bytes()
    assert peak is None or 32 * MIB < peak <= 64 * MIB


def test_memory_within_the_limit_is_not(group: Group) -> None:
    assert end_of(run_in(group, lambda: bytearray(16 * MIB))) == 0
    assert not group.was_out_of_memory()


def test_tasks_are_counted_for_the_whole_group(group: Group) -> None:
    def fork_often() -> None:
        for _ in range(20):
            if os.fork() == 0:
                signal.alarm(20)  # in case nobody kills it
                signal.pause()

    assert not group.was_out_of_tasks()
    assert end_of(run_in(group, fork_often)) == 1
    assert group.was_out_of_tasks()


def test_all_are_killed_at_once_and_the_group_goes(groups: Groups) -> None:
    made = made_in(groups, f"kill-{os.getpid()}")
    read_end, write_end = os.pipe()

    def stay() -> None:
        os.write(write_end, b"x")
        signal.alarm(20)
        signal.pause()

    pids = [run_in(made, stay) for _ in range(3)]
    for _ in pids:
        os.read(read_end, 1)
    os.close(read_end)
    os.close(write_end)
    made.kill()
    assert [end_of(pid) for pid in pids] == [-signal.SIGKILL] * 3
    made.remove()
    assert not Path(made.memory).exists()
    assert not Path(made.pids).exists()


def test_a_name_in_use_is_refused(groups: Groups, group: Group) -> None:
    with pytest.raises(FileExistsError):
        groups.create(f"test-{os.getpid()}")


def test_groups_of_dead_supervisors_are_swept_and_no_others(groups: Groups) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    dead = made_in(groups, f"{pid}-1")
    alive = made_in(groups, f"{os.getpid()}-1")
    named = made_in(groups, "named-otherwise")
    try:
        groups.sweep()
        assert not any(Path(folder).exists() for folder in dead.folders)
        assert all(Path(folder).exists() for folder in (*alive.folders, *named.folders))
    finally:
        alive.remove()
        named.remove()


def test_processes_of_a_dead_supervisor_are_ended(groups: Groups) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    dead = made_in(groups, f"{pid}-2")
    left = run_in(dead, signal.pause)
    while str(left) not in Path(dead.pids, "cgroup.procs").read_text().split():
        os.sched_yield()
    groups.sweep()
    assert end_of(left) == -signal.SIGKILL
    groups.sweep()  # what was killed is reaped only now
    assert not any(Path(folder).exists() for folder in dead.folders)


@pytest.fixture
def bare_group() -> Iterator[Group]:
    """Of version 2: where memory and pids are counted by version 1, there may still be an empty tree."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(place) for _, place, kind, *_ in lines if kind == "cgroup2"]
    if not roots:
        pytest.skip("no control groups of version 2 here")
    folder = roots[0] / f"floom-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"none may be made: {error}")
    yield Group(2, str(folder), str(folder))
    folder.rmdir()


def test_a_process_can_be_born_in_a_group_of_version_2_whose_time_is_counted(
    bare_group: Group,
) -> None:
    script = """
import os
from lib.sandbox import namespaces
from lib.sandbox.cgroup import Group
group = Group(2, sys.argv[2], sys.argv[2])
pid = namespaces.fork(0, group.open())
if pid == 0:
    sum(range(5_000_000))
    print([line for line in open("/proc/self/cgroup") if line.startswith("0::")], flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    said = output_of(script, bare_group.memory)
    assert Path(bare_group.memory).name in said
    assert 0 < bare_group.cpu_seconds() < 60
