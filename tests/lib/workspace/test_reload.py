from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from lib.workspace.errors import WorkspaceConflict
from lib.workspace.git_paths import MAX_DEPTH
from lib.workspace.reload import Reload
from lib.workspace.workspace import Skipped, Workspace
from tests.lib.workspace.place import ANNA, Place, put, write


def test_additions_changes_and_deletions_become_one_commit(
    place: Place, workspace: Workspace
) -> None:
    put(workspace, *[(f"workers/{name}/worker.yml", b"x") for name in "abc"])
    write(place.root / "workers/new/worker.yml", b"name: new\n")
    write(place.root / "workers/a/worker.yml", b"changed")
    (place.root / "workers/a/worker.yml").chmod(0o755)
    shutil.rmtree(place.root / "workers/b")
    write(place.root / "contexts/notes/a.md", b"note")
    write(place.root / "workspace.md", b"be kind")
    write(place.root / ".floom/issues/ISSUE-0001.md", b"---\n---\n")
    result = workspace.reload(ANNA)
    assert (result.changed, result.removed, result.skipped) == (("a", "new"), ("b",), ())
    assert result.commit == workspace.tip()
    assert place.subjects()[0] == "workspace: reload 3 workers"
    assert place.on_disk() == place.in_git()
    assert "100755" in place.git("ls-tree", "main", "workers/a/worker.yml")
    place.fsck()


def test_reloading_again_finds_nothing(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/hello/run.py", b"x")
    assert workspace.reload(ANNA).commit
    again = workspace.reload(ANNA)
    assert (again.commit, again.changed, again.removed) == (None, (), ())


def test_a_change_of_the_mode_alone_is_taken_over(place: Place, workspace: Workspace) -> None:
    (place.root / "workers/hello/run.py").chmod(0o755)
    assert workspace.reload(ANNA).changed == ("hello",)
    assert "100755" in place.git("ls-tree", "main", "workers/hello/run.py")


def test_what_lies_outside_the_scope_stays_outside(place: Place, workspace: Workspace) -> None:
    for path in ("README.md", ".floom/quarantine/x", "other/x", ".floom/secrets-of/x"):
        write(place.root / path, b"x")
    assert workspace.reload(ANNA).commit is None


def test_denied_names_are_left_out_and_reported(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/hello/.env", b"KEY=1")
    write(place.root / "workers/hello/.env.example", b"KEY=")
    write(place.root / "workers/hello/.venv/bin/python", b"")
    result = workspace.reload(ANNA)
    assert result.skipped == (
        Skipped("workers/hello/.env", "may hold a secret"),
        Skipped("workers/hello/.venv", "is a cache or a database"),
    )
    assert "workers/hello/.env.example" in place.in_git()
    assert "workers/hello/.env" not in place.in_git()


def test_a_file_that_may_not_be_judged_is_not_taken_for_deleted(
    place: Place, workspace: Workspace
) -> None:
    """A link, FIFO or socket in a file's place says nothing about the file."""
    put(workspace, *[(f"workers/hello/{name}", b"x") for name in ("a", "b", "c", "d/e")])
    for name in "abc":
        (place.root / "workers/hello" / name).unlink()
    shutil.rmtree(place.root / "workers/hello/d")
    (place.root / "workers/hello/a").symlink_to("/etc/passwd")
    os.mkfifo(place.root / "workers/hello/b")
    here = Path.cwd()
    os.chdir(place.root / "workers/hello")  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("c")
    os.chdir(here)
    outside = place.base / "outside"
    write(outside / "e", b"stolen")
    (place.root / "workers/hello/d").symlink_to(outside)
    result = workspace.reload(ANNA)
    assert [(each.path[-1], each.reason) for each in result.skipped] == [
        ("a", "is a symbolic link"),
        ("b", "is a FIFO"),
        ("c", "is a socket"),
        ("d", "is a symbolic link"),
    ]
    assert result.commit is None


def test_a_linked_scope_is_not_followed(place: Place, workspace: Workspace) -> None:
    shutil.rmtree(place.root / "workers")
    write(place.base / "outside/hello/run.py", b"stolen")
    (place.root / "workers").symlink_to(place.base / "outside")
    result = workspace.reload(ANNA)
    assert result.commit is None
    assert result.skipped == (Skipped("workers", "is a symbolic link"),)


def test_odd_names_are_reported_and_do_no_harm(place: Place, workspace: Workspace) -> None:
    folder = os.fsencode(place.root / "workers/hello")
    for name in (b"\xff\xfe", b"new\nline", b"git~1", b".git"):
        with Path(os.fsdecode(folder + b"/" + name)).open("wb") as file:
            file.write(b"x")
    result = workspace.reload(ANNA)
    assert result.commit is None
    assert {each.reason for each in result.skipped} == {
        "is not UTF-8",
        "holds a control character",
        "names something that belongs to git",
    }
    for each in result.skipped:
        each.path.encode()


def test_too_much_in_one_worker_leaves_out_its_largest_files(
    place: Place, workspace: Workspace
) -> None:
    for name, size in (("a", 20), ("b", 27), ("c", 0)):
        with (place.root / f"workers/hello/{name}").open("wb") as file:
            file.truncate(size * 1024 * 1024)
    with (place.root / "workers/hello/sparse").open("wb") as file:
        file.truncate(1 << 40)
    result = workspace.reload(ANNA)
    assert [each.path for each in result.skipped] == ["workers/hello/b", "workers/hello/sparse"]
    assert "28 MiB" in result.skipped[0].reason
    assert workspace.view().find("workers/hello/a") is not None


def test_folders_in_folders_without_end_are_cut(place: Place, workspace: Workspace) -> None:
    deep = place.root / "workers/hello" / "/".join("d" * 1 for _ in range(120))
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")
    result = workspace.reload(ANNA)
    assert len(result.skipped) == 1
    assert f"deeper than {MAX_DEPTH}" in result.skipped[0].reason


def test_a_path_changed_on_both_sides_is_a_conflict_by_name(
    place: Place, workspace: Workspace
) -> None:
    write(place.root / "workers/hello/run.py", b"by hand")
    write(place.root / "workers/hello/other.py", b"by hand too")
    place.push_commit("workers/hello/run.py", b"pushed")
    with pytest.raises(WorkspaceConflict, match=r"workers/hello/run\.py"):
        workspace.reload(ANNA)
    assert place.on_disk()["workers/hello/run.py"] == b"by hand"
    assert place.show("workers/hello/run.py") == b"pushed"
    assert "workers/hello/other.py" not in place.in_git()


def test_a_conflict_is_over_once_the_file_is_as_in_git(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/hello/run.py", b"by hand")
    place.push_commit("workers/hello/run.py", b"pushed")
    with pytest.raises(WorkspaceConflict):
        workspace.reload(ANNA)
    write(place.root / "workers/hello/run.py", place.show("workers/hello/run.py"))
    assert workspace.reload(ANNA).commit is None
    write(place.root / "workers/hello/run.py", b"by hand, on top of it")
    assert workspace.reload(ANNA).changed == ("hello",)
    assert place.on_disk() == place.in_git()


def test_a_conflict_is_over_once_the_edit_is_taken_back(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/hello/run.py", b"by hand")
    place.push_commit("workers/hello/run.py", b"pushed")
    workspace.refresh()
    write(place.root / "workers/hello/run.py", b"print('hello')\n")
    put(workspace, ("workspace.md", b"any other commit"))
    assert place.on_disk() == place.in_git()


def test_the_same_change_on_both_sides_is_no_conflict(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/hello/run.py", b"same")
    place.push_commit("workers/hello/run.py", b"same")
    assert workspace.reload(ANNA).commit is None


def test_a_file_deleted_here_and_changed_there_is_a_conflict(
    place: Place, workspace: Workspace
) -> None:
    (place.root / "workers/hello/run.py").unlink()
    place.push_commit("workers/hello/run.py", b"pushed")
    with pytest.raises(WorkspaceConflict, match=r"workers/hello/run\.py"):
        workspace.reload(ANNA)
    assert not (place.root / "workers/hello/run.py").exists()


def test_different_files_changed_on_both_sides_come_together(
    place: Place, workspace: Workspace
) -> None:
    write(place.root / "workers/hello/run.py", b"by hand")
    place.push_commit("workers/hello/worker.yml", b"name: pushed\n")
    assert workspace.reload(ANNA).changed == ("hello",)
    assert place.on_disk() == place.in_git()
    assert place.in_git()["workers/hello/worker.yml"] == b"name: pushed\n"


def test_deleting_most_workers_needs_force(place: Place, workspace: Workspace) -> None:
    put(workspace, *[(f"workers/{name}/worker.yml", b"x") for name in "abc"])
    tip = workspace.tip()
    for name in "abc":
        shutil.rmtree(place.root / "workers" / name)
    with pytest.raises(WorkspaceConflict, match=r"3 of 4 workers.*force") as refused:
        workspace.reload(ANNA)
    assert refused.value.code == "workspace_conflict"
    assert workspace.tip() == tip
    result = workspace.reload(ANNA, force=True)
    assert result.removed == ("a", "b", "c")
    assert sorted(place.in_git()) == [
        ".gitignore", "workers/hello/run.py", "workers/hello/worker.yml",
    ]  # fmt: skip


def test_deleting_half_of_the_workers_does_not_need_force(
    place: Place, workspace: Workspace
) -> None:
    put(workspace, ("workers/a/worker.yml", b"x"))
    shutil.rmtree(place.root / "workers/hello")
    assert workspace.reload(ANNA).removed == ("hello",)


def test_a_renamed_worker_counts_as_one_deleted(place: Place, workspace: Workspace) -> None:
    put(workspace, ("workers/a/worker.yml", b"x"), ("workers/b/worker.yml", b"y"))
    (place.root / "workers/a").rename(place.root / "workers/a2")
    result = workspace.reload(ANNA)
    assert (result.changed, result.removed) == (("a2",), ("a",))


def test_no_materialised_file_counts_as_the_empty_tree(place: Place) -> None:
    place.open().close()
    (place.state / "materialised").unlink()
    shutil.rmtree(place.root / "workers/hello")
    write(place.root / "workers/new/worker.yml", b"x")
    workspace = place.open()
    assert set(place.in_git()) == {
        ".gitignore",
        "workers/hello/run.py",
        "workers/hello/worker.yml",
        "workers/new/worker.yml",
    }
    assert place.on_disk() == place.in_git()
    workspace.close()


def test_a_state_of_another_repository_counts_as_none(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.base.mkdir()
    other.make_seed()
    workspace = other.open()
    put(workspace, ("workers/only-there/worker.yml", b"x"))
    workspace.close()
    place.state.mkdir()
    shutil.copy(other.state / "materialised", place.state / "materialised")
    workspace = place.open()
    assert place.on_disk() == place.in_git()
    assert workspace.reload(ANNA).commit is None
    workspace.close()


def test_a_file_may_become_a_folder_by_hand_and_the_reverse(
    place: Place, workspace: Workspace
) -> None:
    write(place.root / "workers/hello/a", b"file")
    write(place.root / "workers/hello/b/c", b"in a folder")
    workspace.reload(ANNA)
    (place.root / "workers/hello/a").unlink()
    write(place.root / "workers/hello/a/x", b"now a folder")
    shutil.rmtree(place.root / "workers/hello/b")
    write(place.root / "workers/hello/b", b"now a file")
    assert workspace.reload(ANNA).changed == ("hello",)
    assert place.on_disk() == place.in_git()
    place.fsck()


def test_a_pushed_link_is_neither_written_nor_deleted(place: Place, workspace: Workspace) -> None:
    clone = place.clone()
    (clone / "workers/hello/link").symlink_to("/etc/passwd")
    place.git("add", "-A", cwd=clone)
    place.git("commit", "-qm", "link", cwd=clone)
    place.git("push", "-q", "origin", "main", cwd=clone)
    workspace.refresh()
    assert not os.path.lexists(place.root / "workers/hello/link")
    assert workspace.reload(ANNA).commit is None
    write(place.root / "workers/hello/link/x", b"a folder in its place")
    assert workspace.reload(ANNA).changed == ("hello",)
    place.fsck()


def test_what_the_api_writes_during_the_scan_is_not_taken_back(
    place: Place, workspace: Workspace
) -> None:
    """The disk is compared with what was written before the scan began."""
    base, scan = workspace._work_tree.base(), workspace._scanner.scan()
    put(workspace, ("workers/hello/run.py", b"by the API"), ("workers/a/worker.yml", b"x"))
    reload = Reload(workspace._folder, scan, base)
    assert reload.change(workspace.view()) == []


def test_only_changed_files_are_read_again(place: Place, workspace: Workspace) -> None:
    for path in (place.root / "workers").rglob("*"):
        os.utime(path, (1, 1))
    # the status also has a change time, which cannot be set back
    workspace._scanner._cache._started_ns += 10**15
    cache = workspace._scanner._cache
    scan = workspace._scanner.scan()
    cache._known = {path: (_key(place.root / path), entry.id) for path, entry in scan.files.items()}
    (place.root / "workers/hello/run.py").write_bytes(b"print('HELLO')\n")
    os.utime(place.root / "workers/hello/run.py", (1, 1))
    assert workspace.reload(ANNA).changed == ("hello",)
    assert place.in_git()["workers/hello/run.py"] == b"print('HELLO')\n"


def _key(path: Path) -> tuple[int, int, int, int, int]:
    status = path.lstat()
    return (
        status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode,
    )  # fmt: skip
