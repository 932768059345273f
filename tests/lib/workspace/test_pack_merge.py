from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lib.workspace.object_store import ObjectStore
from lib.workspace.pack_merge import MERGE_AT, merge_if_due
from lib.workspace.packs import PackBuilder, remove_unfinished
from lib.workspace.workspace import Put, Workspace
from tests.lib.workspace.place import ANNA, Place, put


def packs(place: Place) -> list[Path]:
    return sorted((place.root / ".git/objects/pack").glob("*.pack"))


def fill(workspace: Workspace, count: int) -> None:
    for number in range(count):
        put(workspace, ("contexts/a/n", b"%d" % number), (f"contexts/b/{number}", b"x" * number))


def test_many_small_packs_become_few_and_nothing_is_lost(place: Place) -> None:
    workspace = place.open()
    fill(workspace, 3 * MERGE_AT)
    commits = [commit for commit, _ in workspace.history()]
    workspace.close()
    again = place.open()
    fill(again, MERGE_AT)
    again.close()
    assert len(packs(place)) < 2 * MERGE_AT
    assert place.git("rev-list", "main").split()[MERGE_AT:] == commits
    assert len(place.in_git()) == 3 + 1 + 3 * MERGE_AT
    place.fsck()


def test_a_reader_with_an_old_list_of_packs_reads_on(place: Place, workspace: Workspace) -> None:
    fill(workspace, MERGE_AT // 2)
    reader = ObjectStore(place.root / ".git/objects")
    tip = workspace.tip() or ""
    first = workspace.commit_info(tip).parents[0]
    reader.commit(first)  # knows the packs now, and has opened some
    fill(workspace, MERGE_AT)
    merge_if_due(workspace._repository)
    trees = [info.tree for _, info in workspace.history()]
    for tree in trees:
        reader.read(tree, "tree")
    reader.close()


def test_packs_of_stock_git_are_left_as_they_are(place: Place, workspace: Workspace) -> None:
    for number in range(12):
        put(workspace, ("contexts/a/n", b"line\n" * 200 + b"%d" % number))
    place.git("repack", "-adfq", "--depth=50")
    by_git = set(packs(place))
    fill(workspace, MERGE_AT + 8)
    merge_if_due(workspace._repository)
    workspace.close()  # a merge in the background would take packs from under fsck
    assert by_git <= set(packs(place))
    place.fsck()


def test_deltas_of_a_group_are_read_by_git_after_a_merge(place: Place) -> None:
    workspace = place.open()
    repository = workspace._repository
    ids = []
    for start in range(MERGE_AT):
        builder = PackBuilder()
        base = None
        for number in range(40):
            names = b"".join(
                b"100644 %04d\0" % n + bytes(20) for n in range(start * 3 + number + 1)
            )
            base = builder.add("tree", names, base=base)
            ids.append(base)
        with repository.turnstile.held():
            repository.install(builder.build(), "1" * 40)
    assert merge_if_due(repository)
    chains = place.git("verify-pack", "-v", *[str(pack) for pack in packs(place)])
    assert "chain length = 1:" in chains
    for sha in ids:
        place.git("cat-file", "-e", sha)
    workspace.close()


def test_a_pack_without_index_that_a_kill_left_is_removed(place: Place) -> None:
    workspace = place.open()
    put(workspace, ("workspace.md", b"1"))
    workspace.close()
    folder, scratch = place.root / ".git/objects/pack", place.root / ".git/floom/tmp"
    builder = PackBuilder()
    builder.add("blob", b"half")
    half = builder.build()
    half.stage(scratch)
    (folder / f"{half.name}.pack").hardlink_to(scratch / f"{half.name}.pack")
    builder.add("blob", b"whole")
    whole = builder.build()
    whole.stage(scratch)
    for suffix in ("pack", "idx"):
        (folder / f"{whole.name}.{suffix}").hardlink_to(scratch / f"{whole.name}.{suffix}")
    remove_unfinished(folder, scratch)
    assert not (folder / f"{half.name}.pack").exists()
    assert (folder / f"{whole.name}.idx").exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2, 300])
def test_an_index_is_the_one_that_git_makes(tmp_path: Path, count: int) -> None:
    builder = PackBuilder()
    for number in range(count):
        builder.add("blob", b"%d" % number)
    pack = builder.build()
    pack.stage(tmp_path)
    subprocess.run(
        ["git", "index-pack", "-o", str(tmp_path / "git.idx"), str(tmp_path / f"{pack.name}.pack")],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "git.idx").read_bytes() == pack.index


def test_objects_after_a_savepoint_can_be_forgotten() -> None:
    builder = PackBuilder()
    kept = builder.add("blob", b"kept")
    alone = builder.build()
    point = builder.savepoint()
    builder.add("blob", b"one")
    builder.add("blob", b"two")
    builder.roll_back(point)
    assert builder.build() == alone
    assert list(builder.objects) == [kept]


def test_what_was_rolled_back_can_be_added_again(place: Place, workspace: Workspace) -> None:
    def fail(tree: object) -> list[Put]:
        return [Put("contexts/a", b"1"), Put("../b", b"1")]

    with pytest.raises(Exception, match="segment"):
        workspace.commit(fail, "x", ANNA)
    put(workspace, ("contexts/a", b"1"))
    place.fsck()
