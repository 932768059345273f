"""Disks that are full, read-only or damaged: clear errors, and the rest keeps working."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lib.clock import ManualClock
from lib.ids import Ids
from lib.manifest.loader import load_manifest
from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.export import export
from lib.workspace.issues import IssueQuery, Issues, NewIssue
from lib.workspace.registry import Registry
from lib.workspace.workspace import Workspace
from tests.lib.small_disk import SmallDisk, small_disk
from tests.lib.workspace.place import ANNA, Place, put, write

__all__ = ["small_disk"]

BY: dict[str, Any] = {"author": ANNA, "by": "anna"}
ALL = IssueQuery()
SMALL = pytest.mark.parametrize("small_disk", [4 * 1024 * 1024], indirect=True)


def issues_of(workspace: Workspace) -> Issues:
    clock = ManualClock()
    return Issues(workspace, clock=clock, ids=Ids(clock))


def titles(issues: Issues) -> list[str]:
    return [row.issue.title for row in issues.list(ALL).rows]


@pytest.fixture
def place_there(small_disk: SmallDisk) -> Place:
    place = Place(small_disk.path)
    place.make_seed()
    return place


def judged(there: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let stock git judge a copy: it does not find its way to the disk itself."""
    here = Place(tmp_path_factory.mktemp("copy"))
    shutil.copytree(there.root, here.root)
    here.fsck()
    assert here.in_git() == here.on_disk()


@SMALL
@pytest.mark.parametrize("spare", [0, 4096, 8192, 12_288, 16_384, 24_576])
def test_a_full_disk_is_told_and_nothing_is_half_done(
    small_disk: SmallDisk,
    place_there: Place,
    spare: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    workspace = place_there.open()
    issues = issues_of(workspace)
    issues.create(NewIssue(title="before"), **BY)
    small_disk.fill(spare_bytes=spare)
    acknowledged = ["before"]
    for number in range(6):
        with suppress(WorkspaceUnavailable):
            issues.create(NewIssue(title=f"n{number}", body="x" * 3000), **BY)
            acknowledged.append(f"n{number}")
    small_disk.fill()
    with pytest.raises(WorkspaceUnavailable, match="No space left"):
        issues.create(NewIssue(title="no room", body="x" * 3000), **BY)
    found = titles(issues)
    assert {*acknowledged} <= {*found}
    assert issues.get("ISSUE-0001").issue.title == "before"

    small_disk.clear()
    issues.create(NewIssue(title="after"), **BY)
    assert titles(issues) == [*found, "after"]
    workspace.close()
    again = place_there.open()
    assert titles(issues_of(again)) == [*found, "after"]
    again.close()
    judged(place_there, tmp_path_factory)


@SMALL
def test_a_read_only_disk_can_be_read(
    small_disk: SmallDisk, place_there: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = place_there.open()
    issues = issues_of(workspace)
    issues.create(NewIssue(title="before"), **BY)
    small_disk.remount("ro")
    with pytest.raises(WorkspaceUnavailable, match="Read-only"):
        issues.create(NewIssue(title="n"), **BY)
    assert titles(issues) == ["before"]
    assert "hello" in Registry(workspace).current().workers
    versions, _ = workspace.versions("hello", limit=9)
    assert [each.info.message for each in versions] == ["workspace: seed\n"]
    small_disk.remount("rw")
    issues.create(NewIssue(title="after"), **BY)
    assert titles(issues) == ["before", "after"]
    workspace.close()
    judged(place_there, tmp_path_factory)


@pytest.fixture
def pushed(place: Place, workspace: Workspace) -> Place:
    """A worker and an issue that came by a push, so that each lies in a file of its own."""
    clone = place.clone()
    write(clone / "workers/pushed/worker.yml", b"name: pushed\n")
    write(clone / "workers/pushed/run.py", b"print('pushed')\n")
    write(clone / ".floom/issues/ISSUE-0002.md", b"---\ntitle: pushed\n---\n\nBody\n")
    place.git("add", "-A", cwd=clone)
    place.git("commit", "-qm", "by hand", cwd=clone)
    place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    return place


def loose(place: Place, path: str) -> Path:
    sha = place.git("rev-parse", f"main:{path}").strip()
    return place.root / ".git/objects" / sha[:2] / sha[2:]


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-14])


def garble(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [Path.unlink, cut, garble])
class TestDamagedObjects:
    def test_a_damaged_issue_hides_no_other(
        self, pushed: Place, damage: Callable[[Path], None]
    ) -> None:
        damage(loose(pushed, ".floom/issues/ISSUE-0002.md"))
        workspace = pushed.open()
        issues = issues_of(workspace)
        put(workspace, (".floom/issues/ISSUE-0001.md", b"---\ntitle: good\n---\n"))

        assert titles(issues) == ["good"]
        (skipped,) = issues.list(ALL).skipped
        assert skipped.path == ".floom/issues/ISSUE-0002.md"
        assert "cannot be read" in skipped.reason
        issues.create(NewIssue(title="next"), **BY)
        assert titles(issues) == ["good", "next"]
        workspace.close()

    def test_a_damaged_worker_hides_no_other(
        self, pushed: Place, damage: Callable[[Path], None]
    ) -> None:
        damage(loose(pushed, "workers/pushed/worker.yml"))
        workspace = pushed.open()
        workers = Registry(workspace).current().workers

        assert {"hello", "pushed"} <= {*workers}
        assert not workers["hello"].loaded.errors or workers["hello"].loaded.manifest
        (problem,) = workers["pushed"].loaded.errors
        assert problem.code == "unreadable"
        workspace.close()

    def test_a_damaged_file_does_not_stop_an_export(
        self, pushed: Place, damage: Callable[[Path], None]
    ) -> None:
        damage(loose(pushed, "workers/pushed/run.py"))
        workspace = pushed.open()
        made = export(workspace, load_manifest)
        with made.file as file, zipfile.ZipFile(file) as archive:
            assert "workers/pushed/worker.yml" in archive.namelist()
            assert "workers/pushed/run.py" not in archive.namelist()
        (left,) = made.left_out
        assert left.path == "workers/pushed/run.py"
        assert "damaged" in left.reason
        workspace.close()
