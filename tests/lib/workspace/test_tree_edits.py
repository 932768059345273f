from __future__ import annotations

import pytest

from lib.workspace.errors import InvalidPath, ObjectNotFound, PathNotFound
from lib.workspace.tree_objects import EXECUTABLE
from lib.workspace.workspace import Delete, Edit, Put, PutTree, Workspace
from tests.lib.workspace.place import ANNA, Place, put


def apply(workspace: Workspace, *edits: Edit) -> dict[str, bytes]:
    result = workspace.commit(lambda _: edits, "edit", ANNA)
    tree = workspace.tree(result.tree)
    return {path: tree.read(path) for path, _ in tree.walk("contexts")}


def test_the_later_of_two_puts_holds(workspace: Workspace) -> None:
    assert apply(workspace, Put("contexts/a", b"1"), Put("contexts/a", b"2")) == {
        "contexts/a": b"2"
    }


def test_deletions_come_first_wherever_they_stand(workspace: Workspace) -> None:
    put(workspace, ("contexts/a/old", b"1"))
    assert apply(workspace, Put("contexts/a/new", b"2"), Delete("contexts/a")) == {
        "contexts/a/new": b"2"
    }


def test_a_folder_that_loses_its_last_file_goes(place: Place, workspace: Workspace) -> None:
    put(workspace, ("contexts/a/b/c", b"1"))
    assert apply(workspace, Delete("contexts/a/b/c")) == {}
    assert workspace.view().find("contexts") is None
    assert not (place.root / "contexts").exists()
    place.fsck()


def test_deleting_what_is_not_there_is_no_commit(workspace: Workspace) -> None:
    result = workspace.commit(lambda _: [Delete("contexts/none/x")], "edit", ANNA)
    assert not result.created
    assert result.commit == workspace.tip()


def test_a_file_may_become_a_folder_and_the_reverse(place: Place, workspace: Workspace) -> None:
    put(workspace, ("contexts/a", b"1"))
    assert apply(workspace, Delete("contexts/a"), Put("contexts/a/b", b"2")) == {
        "contexts/a/b": b"2"
    }
    assert place.on_disk()["contexts/a/b"] == b"2"
    assert apply(workspace, Delete("contexts/a"), Put("contexts/a", b"3")) == {"contexts/a": b"3"}
    assert place.on_disk()["contexts/a"] == b"3"
    place.fsck()


@pytest.mark.parametrize(
    "edits",
    [
        [Put("contexts/file/below", b"")],
        [Put("contexts/folder", b"")],
        [Put("contexts/x", b""), Put("contexts/x/y", b"")],
        [Put("contexts/x", b"", 0o120000)],
        [Put("../x", b"")],
        [Put("contexts/.git/x", b"")],
        [Delete("")],
    ],
)
def test_edits_that_no_tree_can_hold_change_nothing(
    place: Place, workspace: Workspace, edits: list[Edit]
) -> None:
    put(workspace, ("contexts/file", b"1"), ("contexts/folder/a", b"1"))
    tip, packs = workspace.tip(), set((place.root / ".git/objects/pack").iterdir())
    with pytest.raises(InvalidPath):
        workspace.commit(lambda _: [Put("contexts/fine", b"x"), *edits], "edit", ANNA)
    assert workspace.tip() == tip
    assert set((place.root / ".git/objects/pack").iterdir()) == packs
    assert "contexts/fine" not in place.on_disk()


def test_an_old_folder_can_be_put_back_whole(place: Place, workspace: Workspace) -> None:
    old = put(workspace, ("contexts/a/one", b"1"), Put("contexts/a/two", b"2", EXECUTABLE))
    tree_id = workspace.tree(old.tree).tree_id("contexts/a")
    assert tree_id is not None
    put(workspace, ("contexts/a/one", b"changed"), ("contexts/a/later", b"3"))
    apply(workspace, PutTree("contexts/a", tree_id))
    assert workspace.view().tree_id("contexts/a") == tree_id
    assert {p: d for p, d in place.on_disk().items() if p.startswith("contexts")} == {
        "contexts/a/one": b"1",
        "contexts/a/two": b"2",
    }
    place.fsck()


def test_a_tree_that_is_not_there_cannot_be_put(workspace: Workspace) -> None:
    with pytest.raises(ObjectNotFound):
        apply(workspace, PutTree("contexts/a", "1" * 40))


def test_reading_what_is_no_file_is_not_found(workspace: Workspace) -> None:
    view = workspace.view()
    for path in ("none", "workers", "workers/hello/run.py/x", "workers//hello/run.py"):
        with pytest.raises(PathNotFound):
            view.read(path)
