"""Servers that were killed, hosts that were, and folders that changed meanwhile."""

from __future__ import annotations

import json
import random
import shutil
import subprocess

import pytest

from lib.workspace.errors import WorkspaceConflict
from lib.workspace.workspace import Delete, Put, Workspace
from tests.lib.workspace.place import ANNA, Place, put, write
from tests.lib.workspace.processes import go, kill, start
from tests.lib.workspace.writer import COUNTER


def start_writer(place: Place, name: str, count: int) -> subprocess.Popen[str]:
    return start("tests.lib.workspace.writer", place.base, name, count)


def forget_write_out(place: Place, before: dict[str, bytes], state: bytes) -> None:
    """Make the folder as it is when a server is killed between ref and disk."""
    for path in set(place.on_disk()) - set(before):
        (place.root / path).unlink()
    for path, data in before.items():
        write(place.root / path, data)
    (place.state / "materialised").write_bytes(state)


def test_killed_between_ref_and_disk_the_folder_follows_the_tip(place: Place) -> None:
    workspace = place.open()
    put(workspace, ("workers/a/keep", b"1"), ("workers/a/change", b"1"), ("workers/b/go", b"1"))
    before, state = place.on_disk(), (place.state / "materialised").read_bytes()
    result = workspace.commit(
        lambda _: [Put("workers/a/change", b"2"), Put("workers/c/new", b"2"), Delete("workers/b")],
        "x",
        ANNA,
    )
    workspace.close()
    forget_write_out(place, before, state)
    again = place.open()
    assert again.tip() == result.commit
    assert place.on_disk() == place.in_git()
    again.close()


def test_a_file_that_is_neither_old_nor_new_is_left_alone_and_reported(place: Place) -> None:
    workspace = place.open()
    put(workspace, ("workers/a/x", b"1"), ("workers/a/y", b"1"))
    before, state = place.on_disk(), (place.state / "materialised").read_bytes()
    put(workspace, ("workers/a/x", b"2"), ("workers/a/y", b"2"))
    tip = workspace.tip()
    workspace.close()
    forget_write_out(place, before, state)
    write(place.root / "workers/a/x", b"edited while it was down")
    again = place.open()
    assert again.tip() == tip
    assert place.on_disk()["workers/a/x"] == b"edited while it was down"
    assert place.on_disk()["workers/a/y"] == b"2"
    with pytest.raises(WorkspaceConflict, match="workers/a/x"):
        again.reload(ANNA)
    again.close()


def test_edits_made_while_it_was_down_are_recorded(place: Place) -> None:
    place.open().close()
    write(place.root / "workers/hello/run.py", b"edited")
    write(place.root / "workers/new/worker.yml", b"new")
    again = place.open()
    assert place.subjects() == ["workspace: reload 2 workers", "workspace: seed"]
    assert place.on_disk() == place.in_git()
    again.close()


def test_a_folder_emptied_while_it_was_down_deletes_nothing(place: Place) -> None:
    workspace = place.open()
    put(workspace, *[(f"workers/{name}/worker.yml", b"x") for name in "abc"])
    tip, files = workspace.tip(), place.in_git()
    workspace.close()
    shutil.rmtree(place.root / "workers")
    again = place.open()
    assert again.tip() == tip
    assert place.in_git() == files
    put(again, ("workers/d/worker.yml", b"x"))
    assert place.in_git().keys() == files.keys() | {"workers/d/worker.yml"}
    with pytest.raises(WorkspaceConflict, match="force"):
        again.reload(ANNA)
    again.close()


def test_a_power_cut_that_lost_written_files_is_made_good(place: Place) -> None:
    """Files are not forced to disk: after another boot what is empty or absent was lost."""
    workspace = place.open()
    put(workspace, ("workers/a/x", b"1"))
    put(workspace, ("workers/a/x", b"2"), ("workers/a/lost", b"3"), ("workers/a/mine", b"4"))
    files = place.in_git()
    workspace.close()
    state = json.loads((place.state / "materialised").read_bytes())
    (place.state / "materialised").write_text(json.dumps({**state, "boot": "another"}))
    write(place.root / "workers/a/x", b"")
    (place.root / "workers/a/lost").unlink()
    write(place.root / "workers/a/mine", b"edited by hand")
    again = place.open()
    assert place.in_git() == {**files, "workers/a/mine": b"edited by hand"}
    assert place.on_disk() == place.in_git()
    again.close()


def test_a_damaged_state_loses_no_edit(place: Place) -> None:
    workspace = place.open()
    put(workspace, ("workers/a/x", b"1"))
    workspace.close()
    (place.state / "materialised").write_bytes(b"\0\0\0")
    write(place.root / "workers/a/x", b"edited")
    again = place.open()
    assert place.on_disk()["workers/a/x"] == b"edited"
    assert place.in_git()["workers/a/x"] == b"1"
    again.close()


def check_after_kill(place: Place, name: str, acknowledged: int) -> None:
    """Tip and folder agree, everything acknowledged is there, nothing else is."""
    place.fsck()
    workspace = place.open()
    assert place.on_disk() == place.in_git()
    subjects = [each for each in place.subjects() if each.startswith(f"context: {name} ")]
    assert len(subjects) == len(set(subjects))
    assert acknowledged <= len(subjects) <= acknowledged + 1
    assert not [each for each in place.subjects() if each.startswith("workspace: reload")]
    assert workspace.view().read(COUNTER) == b"%d" % sum(
        each.startswith("context: ") for each in place.subjects()
    )
    put(workspace, ("workers/after/kill", b"%d" % acknowledged))
    assert not list((place.root / ".git/floom/tmp").iterdir())
    workspace.close()
    place.fsck()


def kill_at_random(place: Place, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    place.open().close()
    for number in range(rounds):
        name = f"w{number}"
        writer = start_writer(place, name, 0)
        go(writer)
        assert writer.stdout
        first = [writer.stdout.readline() for _ in range(chance.randrange(1, 12))]
        for _ in range(chance.randrange(400_000)):
            pass  # some instant within a commit, not always just after one
        lines = [*first, *kill(writer)]
        check_after_kill(place, name, sum(line.endswith("\n") for line in lines))


def test_killed_at_any_moment_nothing_acknowledged_is_lost(place: Place) -> None:
    kill_at_random(place, rounds=5, seed=1)


@pytest.mark.soak
def test_killed_two_hundred_times(place: Place) -> None:
    kill_at_random(place, rounds=200, seed=2)


def test_eight_processes_lose_nothing(place: Place) -> None:
    place.open().close()
    writers = [start_writer(place, f"p{index}", 20) for index in range(8)]
    go(*writers)
    for writer in writers:
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        assert output.split() == [str(number) for number in range(20)]
    files = place.in_git()
    assert files[COUNTER] == b"160"
    taken = [int(data) for path, data in files.items() if path.startswith("contexts/p")]
    assert sorted(taken) == list(range(1, 161))
    assert len(place.subjects()) == 161
    assert place.on_disk() == files
    place.fsck()
    workspace: Workspace = place.open()
    assert workspace.reload(ANNA).commit is None
    workspace.close()
