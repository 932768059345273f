from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lib.workspace.ref import Ref
from lib.workspace.workspace import Workspace
from tests.lib.workspace.place import Place, put

A, B = "a" * 40, "b" * 40


@pytest.fixture
def ref(tmp_path: Path) -> Ref:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "refs/heads").mkdir(parents=True)
    return Ref(tmp_path, tmp_path / "tmp")


def test_it_moves_only_from_where_it_is(ref: Ref) -> None:
    assert ref.read() is None
    assert not ref.move(A, ref.stage(B))
    assert ref.move(None, ref.stage(A))
    assert not ref.move(None, ref.stage(B))
    assert ref.read() == A
    assert ref.move(A, ref.stage(B))
    assert ref.read() == B


def test_a_packed_branch_is_read_and_moved(tmp_path: Path, ref: Ref) -> None:
    (tmp_path / "packed-refs").write_text(f"# pack-refs with: peeled\n{A} refs/heads/main\n")
    assert ref.read() == A
    assert ref.move(A, ref.stage(B))
    assert ref.read() == B


def test_a_lock_that_a_killed_writer_of_ours_left_is_freed_at_once(
    place: Place, workspace: Workspace
) -> None:
    put(workspace, ("workspace.md", b"1"))
    workspace.close()
    scratch = place.root / ".git/floom/tmp"
    lock = place.root / ".git/refs/heads/main.lock"
    value = Ref(place.root / ".git", scratch).stage(A)
    lock.hardlink_to(value)
    again = place.open()
    put(again, ("workspace.md", b"2"))
    assert list(scratch.iterdir()) == []
    assert not lock.exists()
    again.close()


def test_a_lock_of_ours_that_is_left_while_others_run_does_not_delay_them(
    tmp_path: Path, ref: Ref
) -> None:
    (tmp_path / "refs/heads/main.lock").hardlink_to(ref.stage(B))
    assert ref.move(None, ref.stage(A))
    assert ref.read() == A


@pytest.mark.usefixtures("ref")
def test_a_lock_that_a_killed_git_left_is_outlasted(tmp_path: Path) -> None:
    ref = Ref(tmp_path, tmp_path / "tmp", foreign_lock_seconds=0.05)
    (tmp_path / "refs/heads/main.lock").write_bytes(b"")
    assert not ref.move(None, ref.stage(A))  # removed: the caller looks again
    assert ref.move(None, ref.stage(A))


def test_a_push_that_holds_the_lock_is_waited_for(tmp_path: Path, ref: Ref) -> None:
    lock = tmp_path / "refs/heads/main.lock"
    lock.write_bytes(b"")
    freeing = threading.Timer(0.05, lock.unlink)
    freeing.start()
    assert ref.move(None, ref.stage(A))
    freeing.join()
