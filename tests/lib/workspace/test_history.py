"""Versions of a worker, beside what stock git says of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.clock import ManualClock
from lib.workspace.history import History
from lib.workspace.object_store import ObjectStore
from lib.workspace.workspace import CommitInfo, Delete, Workspace
from tests.lib.workspace.place import ANNA, Place, put, write


def versions(workspace: Workspace, worker_id: str, *, limit: int = 50) -> list[str]:
    """Every version, page by page."""
    found: list[str] = []
    below = None
    while True:
        page, below = workspace.versions(worker_id, below=below, limit=limit)
        found += [version.commit for version in page]
        if below is None:
            return found


def git_says(place: Place, worker_id: str) -> list[str]:
    return place.git("log", "--format=%H", "main", "--", f"workers/{worker_id}").splitlines()


def history_of(place: Place) -> Path:
    return place.root / ".git/floom/history"


def change(workspace: Workspace, worker_id: str, text: str) -> str:
    commit = put(workspace, (f"workers/{worker_id}/run.py", text.encode())).commit
    assert commit is not None
    return commit


def test_versions_are_the_commits_that_changed_the_folder(
    place: Place, workspace: Workspace
) -> None:
    change(workspace, "a", "1")
    change(workspace, "b", "1")
    change(workspace, "a", "2")
    put(workspace, ("contexts/a/x", b"1"))
    workspace.commit(lambda _: [Delete("workers/a")], "worker: delete a", ANNA)
    change(workspace, "b", "2")

    for worker_id in ("a", "b", "hello", "none"):
        assert versions(workspace, worker_id) == git_says(place, worker_id)
    (deleted, second, _), _ = workspace.versions("a", limit=9)
    assert deleted.sha is None
    assert second.sha == place.git("rev-parse", f"{second.commit}:workers/a").strip()


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_hold_each_version_once(place: Place, workspace: Workspace, limit: int) -> None:
    for number in range(7):
        change(workspace, "a", str(number))

    assert versions(workspace, "a", limit=limit) == git_says(place, "a")


def test_a_page_stands_while_versions_are_added(place: Place, workspace: Workspace) -> None:
    commits = [change(workspace, "a", str(number)) for number in range(4)]
    _, below = workspace.versions("a", limit=2)
    change(workspace, "a", "more")

    page, _ = workspace.versions("a", below=below, limit=2)
    assert [version.commit for version in page] == commits[1::-1]


def test_a_push_is_seen_at_the_next_call(place: Place, workspace: Workspace) -> None:
    change(workspace, "a", "1")
    assert len(versions(workspace, "a")) == 1

    pushed = place.push_commit("workers/a/run.py", b"2")

    assert versions(workspace, "a")[0] == pushed
    assert versions(workspace, "a") == git_says(place, "a")


def test_a_merge_is_a_version_only_where_it_differs_from_both_sides(
    place: Place, workspace: Workspace
) -> None:
    change(workspace, "a", "1")
    versions(workspace, "a")
    clone = place.clone()
    ours = change(workspace, "b", "ours")
    write(clone / "workers/c/run.py", b"theirs")
    place.git("add", ".", cwd=clone)
    place.git("commit", "-qm", "theirs", cwd=clone)
    theirs = place.git("rev-parse", "HEAD", cwd=clone).strip()
    place.git("fetch", "-q", "origin", cwd=clone)
    place.git("merge", "-q", "-m", "merge", "origin/main", cwd=clone)
    write(clone / "workers/a/run.py", b"in the merge")
    place.git("commit", "-aq", "--amend", "--no-edit", cwd=clone)
    place.git("push", "-q", "origin", "HEAD:main", cwd=clone)

    merge = place.git("rev-parse", "HEAD", cwd=clone).strip()
    assert versions(workspace, "b") == [ours]
    assert versions(workspace, "c") == [theirs]
    assert versions(workspace, "a")[0] == merge
    after = change(workspace, "c", "after")
    assert versions(workspace, "c") == [after, theirs]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(path.read_bytes() + b"f" * 40 + b" a\n"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes().replace(b" a\n", b"\0\0\n")),
        lambda path: path.write_bytes(b"floom-history 1\n" + b"= " + b"a" * 40 + b"\n"),
        lambda path: path.write_bytes(b"floom-history 9\n" + path.read_bytes()),
    ],
    ids=["gone", "empty", "torn", "unfinished", "zeros", "holes", "of another", "newer"],
)
def test_the_index_is_made_again_where_it_is_lost(
    place: Place, damage: Callable[[Path], None]
) -> None:
    workspace = place.open()
    for number in range(3):
        change(workspace, "a", str(number))
        versions(workspace, "a")
    workspace.close()
    damage(history_of(place))

    again = place.open()
    change(again, "a", "more")
    assert versions(again, "a") == git_says(place, "a")
    again.close()
    third = place.open()
    assert versions(third, "a") == git_says(place, "a")
    third.close()


def test_history_rewritten_by_hand_is_read_anew(place: Place, workspace: Workspace) -> None:
    first = change(workspace, "a", "1")
    change(workspace, "a", "2")
    assert len(versions(workspace, "a")) == 2

    place.git("update-ref", "refs/heads/main", first)
    assert versions(workspace, "a") == [first]
    change(workspace, "a", "other")
    assert versions(workspace, "a") == git_says(place, "a")


def test_without_a_file_it_is_kept_in_memory(place: Place, workspace: Workspace) -> None:
    change(workspace, "a", "1")
    store = ObjectStore(place.root / ".git/objects")
    history = History(store, place.base / "missing")

    page = history.page("a", workspace.tip(), below=None, limit=9)
    assert list(page.commits) == git_says(place, "a")
    store.close()


def test_two_processes_keep_one_file(place: Place, workspace: Workspace) -> None:
    store = ObjectStore(place.root / ".git/objects")
    other = History(store, place.root / ".git/floom")
    for number in range(6):
        change(workspace, "a", str(number))
        expected = git_says(place, "a")
        if number % 3 != 1:
            page = other.page("a", workspace.tip(), below=None, limit=9)
            assert list(page.commits) == expected
        if number % 2:
            assert versions(workspace, "a") == expected
    lines = history_of(place).read_text().splitlines()
    assert len(lines) == len({*lines})
    store.close()


def test_only_what_changed_since_is_looked_at(place: Place, workspace: Workspace) -> None:
    for number in range(50):
        change(workspace, "a", str(number))
    versions(workspace, "a")
    workspace.close()

    class Counting(ObjectStore):
        read_commits = 0

        def commit(self, sha: str) -> CommitInfo:
            Counting.read_commits += 1
            return super().commit(sha)

    store = Counting(place.root / ".git/objects")
    again = History(store, place.root / ".git/floom")
    tip = place.git("rev-parse", "main").strip()
    assert len(again.page("a", tip, below=None, limit=99).commits) == 50
    assert Counting.read_commits == 0
    store.close()


def differing(place: Place, worker_id: str) -> list[str]:
    """Commits whose folder of a worker differs from that of each parent, by stock git."""

    def folder(commit: str) -> str:
        return place.git("ls-tree", commit, f"workers/{worker_id}")

    rows = [line.split() for line in place.git("log", "--format=%H %P", "main").splitlines()]
    return [
        commit
        for commit, *parents in rows
        if folder(commit) not in ([folder(parent) for parent in parents] or [""])
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ours"), st.sampled_from("ab"), st.integers(0, 3)),
        st.tuples(st.just("theirs"), st.sampled_from("ab"), st.integers(0, 3)),
        st.tuples(st.just("merge"), st.just("a"), st.just(0)),
        st.tuples(st.just("ask"), st.sampled_from("ab"), st.just(0)),
    ),
    max_size=10,
)


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_any_graph_gives_what_git_gives(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    base = tmp_path_factory.mktemp("graph")
    place = Place(base)
    place.make_seed()
    clock = ManualClock()
    workspace = place.open(clock=clock)
    clone = place.clone()
    try:
        for kind, worker_id, number in steps:
            clock.advance(seconds=1)
            if kind == "ours":
                change(workspace, worker_id, str(number))
            elif kind == "theirs":
                write(clone / f"workers/{worker_id}/theirs.txt", str(number).encode())
                place.git("add", "-A", cwd=clone)
                place.git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=clone)
            elif kind == "merge":
                place.git("fetch", "-q", "origin", cwd=clone)
                place.git("merge", "-q", "-m", "merge", "origin/main", cwd=clone)
                place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            else:
                versions(workspace, worker_id)
        for worker_id in "ab":
            assert sorted(versions(workspace, worker_id)) == sorted(differing(place, worker_id))
    finally:
        workspace.close()
        shutil.rmtree(base)
