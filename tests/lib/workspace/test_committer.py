from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.workspace.committer import Committer
from lib.workspace.draft import Group, Request
from lib.workspace.errors import WorkspaceConflict, WorkspaceUnavailable
from lib.workspace.folder import Folder
from lib.workspace.locks import Turnstile
from lib.workspace.repository import Repository
from lib.workspace.workspace import CommitResult, Edit, Put, TreeView, Workspace
from lib.workspace.write_out import WorkTree
from tests.lib.workspace.place import ANNA, Place, put, wait_for, write

COUNTER = "contexts/shared/counter"


def count_up(tree: TreeView) -> Iterable[Edit]:
    return [Put(COUNTER, b"%d" % (int(tree.find_bytes(COUNTER) or b"0") + 1))]


def test_no_change_no_commit(workspace: Workspace) -> None:
    tip = workspace.tip()
    result = workspace.commit(lambda tree: [Put("workers/hello/run.py", tree.read("workers/hello/run.py"))], "x", ANNA)  # fmt: skip
    assert (result.commit, result.created) == (tip, False)
    assert workspace.commit(lambda _: [], "x", ANNA).created is False
    assert workspace.tip() == tip


def test_nothing_else_that_lies_on_disk_is_swept_in(place: Place, workspace: Workspace) -> None:
    write(place.root / "workers/other/run.py", b"not reloaded")
    write(place.root / "workers/hello/run.py", b"edited, not reloaded")
    put(workspace, ("contexts/a/b", b"1"))
    assert place.git("show", "--name-only", "--format=", "main").split() == ["contexts/a/b"]


def test_callers_at_once_each_get_a_commit_of_their_own(place: Place, workspace: Workspace) -> None:
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: workspace.commit(count_up, "count", ANNA), range(80)))
    assert len({result.commit for result in results}) == 80
    assert workspace.view().read(COUNTER) == b"80"
    assert place.subjects().count("count") == 80
    assert place.on_disk() == place.in_git()
    place.fsck()


def test_a_group_is_one_pack_and_one_move(place: Place, workspace: Workspace) -> None:
    before = len(list((place.root / ".git/objects/pack").glob("*.pack")))
    turnstile = Turnstile(place.root / ".git/floom")
    with ThreadPoolExecutor(10) as pool:
        with turnstile.held():
            first = pool.submit(workspace.commit, count_up, "count", ANNA)
            wait_for(lambda: not workspace._committer._waiting)
            rest = [pool.submit(workspace.commit, count_up, "count", ANNA) for _ in range(9)]
            wait_for(lambda: len(workspace._committer._waiting) == 9)
        commits = {each.result().commit for each in [first, *rest]}
    assert len(commits) == 10
    packs = sorted((place.root / ".git/objects/pack").glob("*.pack"))
    assert len(packs) == before + 2
    assert "chain length" in place.git("verify-pack", "-v", *[str(pack) for pack in packs])
    place.fsck()


def test_a_change_that_raises_fails_its_own_caller_only(place: Place, workspace: Workspace) -> None:
    def fail(tree: TreeView) -> Iterable[Edit]:
        yield Put("contexts/half/a", b"1")
        raise KeyError("mine")

    with ThreadPoolExecutor(12) as pool:
        good = [pool.submit(workspace.commit, count_up, "count", ANNA) for _ in range(10)]
        bad = pool.submit(workspace.commit, fail, "fail", ANNA)
        with pytest.raises(KeyError, match="mine"):
            bad.result()
        assert all(each.result().created for each in good)
    assert workspace.view().read(COUNTER) == b"10"
    assert workspace.view().find("contexts/half") is None
    assert not (place.root / "contexts/half").exists()


def test_what_a_change_raises_is_told_even_if_it_looks_like_our_own_deadline(
    workspace: Workspace,
) -> None:
    def fail(tree: TreeView) -> Iterable[Edit]:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        workspace.commit(fail, "fail", ANNA)


def test_a_bad_subject_or_trailer_fails_its_caller_and_leaves_nothing(
    place: Place, workspace: Workspace
) -> None:
    tip = workspace.tip()
    with pytest.raises(ValueError, match="subject"):
        workspace.commit(count_up, "\n", ANNA)
    with pytest.raises(ValueError, match="trailer"):
        workspace.commit(count_up, "x", ANNA, trailers={"a b": "c"})
    assert workspace.tip() == tip
    assert COUNTER not in place.on_disk()


def test_a_push_in_the_middle_makes_the_change_run_again(
    place: Place, workspace: Workspace
) -> None:
    clone = place.clone()
    calls = []

    def change(tree: TreeView) -> Iterable[Edit]:
        calls.append(tree.find("workers/pushed/a") is not None)
        if len(calls) == 1:
            place.push_commit("workers/pushed/a", b"1", clone=clone)
        return count_up(tree)

    packs = place.root / ".git/objects/pack"
    before = set(packs.iterdir())
    result = workspace.commit(change, "count", ANNA)
    assert calls == [False, True]
    assert result.commit == workspace.tip()
    assert place.subjects()[:2] == ["count", "by hand: workers/pushed/a"]
    assert place.on_disk() == place.in_git()
    assert len(set(packs.iterdir()) - before) == 2, "the lost attempt left its pack behind"
    place.fsck()


def test_a_group_is_applied_again_as_a_whole(place: Place, workspace: Workspace) -> None:
    pushed = threading.Event()

    def slow(tree: TreeView) -> Iterable[Edit]:
        if not pushed.is_set():
            pushed.set()
            place.push_commit("workers/pushed/a", b"1")
        return count_up(tree)

    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(workspace.commit, count_up, "count", ANNA) for _ in range(5)]
        workspace.commit(slow, "count", ANNA)
        assert len({each.result().commit for each in others}) == 5
    assert workspace.view().read(COUNTER) == b"6"
    place.fsck()


def test_an_edit_on_disk_that_was_not_reloaded_is_not_written_over(
    place: Place, workspace: Workspace
) -> None:
    write(place.root / "workers/hello/run.py", b"edited by hand")
    with pytest.raises(WorkspaceConflict, match=r"workers/hello/run\.py"):
        put(workspace, ("workers/hello/run.py", b"by the API"))
    assert place.on_disk()["workers/hello/run.py"] == b"edited by hand"
    put(workspace, ("workers/hello/worker.yml", b"name: other\n"))
    put(workspace, ("workers/hello/run.py", b"edited by hand"))  # the same: nothing is lost
    assert place.on_disk() == place.in_git()


def test_a_lock_that_is_never_freed_is_a_conflict(place: Place) -> None:
    with opened(place, deadline_seconds=0.2) as committer:
        with (
            Turnstile(place.root / ".git/floom").held(),
            pytest.raises(WorkspaceConflict, match="busy"),
        ):
            committer.commit(Request(count_up, "given up", ANNA, None, from_disk=False))
        committer.commit(Request(count_up, "later", ANNA, None, from_disk=False))
    assert place.subjects() == ["later"]
    assert place.show(COUNTER) == b"1"


class Elsewhere:
    """A publisher that records, and answers as told."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.groups: list[Group] = []
        self.tips: list[str | None] = []
        self.repository: Repository | None = None

    def publish(self, group: Group) -> bool:
        assert self.repository is not None
        self.groups.append(group)
        self.tips.append(self.repository.tip())
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle(self) -> None:
        pass

    def before_move(self, finish: object) -> None:
        pass

    def works(self) -> bool:
        return True

    def restore(self) -> None:
        pass

    def confirm(self, tip: str | None) -> bool:
        assert self.repository is not None
        return self.repository.tip() == tip

    def refresh(self) -> None:
        pass


@contextmanager
def opened(
    place: Place, *, publisher: Elsewhere | None = None, deadline_seconds: float = 10
) -> Iterator[Committer]:
    place.root.mkdir(exist_ok=True)
    place.state.mkdir(exist_ok=True)
    repository = Repository.open(place.root, engine_root=place.engine, durable=False)
    if publisher is not None:
        publisher.repository = repository
    committer = Committer(
        repository,
        work_tree=WorkTree(
            repository.store, Folder(place.root, repository.scratch), place.state / "materialised"
        ),
        clock=ManualClock(),
        publisher=publisher,
        deadline_seconds=deadline_seconds,
    )
    try:
        yield committer
    finally:
        committer.close()
        repository.close()


def commit_with(place: Place, publisher: Elsewhere) -> CommitResult:
    with opened(place, publisher=publisher) as committer:
        return committer.commit(Request(count_up, "count", ANNA, None, from_disk=False))


def test_a_group_is_published_before_the_branch_moves(place: Place) -> None:
    publisher = Elsewhere()
    result = commit_with(place, publisher)
    assert publisher.tips == [None]
    assert [group.tip for group in publisher.groups] == [result.commit]
    assert place.git("rev-parse", "main").strip() == result.commit


def test_a_lost_race_elsewhere_is_applied_again(place: Place) -> None:
    publisher = Elsewhere(False, False, True)
    result = commit_with(place, publisher)
    assert len(publisher.groups) == 3
    assert place.git("rev-parse", "main").strip() == result.commit
    assert len(list((place.root / ".git/objects/pack").glob("*.pack"))) == 1


def test_what_cannot_be_published_does_not_happen(place: Place) -> None:
    with pytest.raises(WorkspaceUnavailable, match="store is down"):
        commit_with(place, Elsewhere(WorkspaceUnavailable("The store is down.")))
    assert place.on_disk() == {}
    assert list((place.root / ".git/objects/pack").iterdir()) == []
    assert list((place.root / ".git/refs/heads").iterdir()) == []
    assert list((place.root / ".git/floom/tmp").iterdir()) == []


class Disturbed(Elsewhere):
    """Something happens to the repository once a group is published."""

    def __init__(self, disturb: Callable[[Repository], None]) -> None:
        super().__init__()
        self._disturb = disturb
        self.settled = 0

    def publish(self, group: Group) -> bool:
        assert self.repository is not None
        is_published = super().publish(group)
        self._disturb(self.repository)
        return is_published

    def settle(self) -> None:
        self.settled += 1


def take_staged_values(repository: Repository) -> None:
    for value in repository.scratch.glob("ref-*"):
        value.unlink()


def move_main(repository: Repository) -> None:
    (repository.git_dir / "refs/heads/main").write_text("1" * 40 + "\n")


@pytest.mark.parametrize(("disturb", "settled"), [(take_staged_values, 0), (move_main, 1)])
def test_what_is_published_stays_where_the_branch_cannot_follow(
    place: Place, disturb: Callable[[Repository], None], settled: int
) -> None:
    """A disk that fails, and a push, in the moment between."""
    publisher = Disturbed(disturb)
    result = commit_with(place, publisher)
    assert [group.tip for group in publisher.groups] == [result.commit]
    assert publisher.settled == settled
    assert result.commit is not None
    assert place.git("cat-file", "-t", result.commit).strip() == "commit"


@pytest.mark.parametrize("folder", ["objects/pack", "floom/tmp", "refs/heads"])
def test_a_folder_that_cannot_be_written_is_a_clear_error_and_no_commit(
    place: Place, workspace: Workspace, folder: str
) -> None:
    tip = workspace.tip()
    target = place.root / ".git" / folder
    away = target.with_name("away")
    target.rename(away)
    target.write_bytes(b"")  # root may write into a folder without permission
    with pytest.raises(WorkspaceUnavailable, match="cannot be"):
        put(workspace, ("workspace.md", b"1"))
    target.unlink()
    away.rename(target)
    assert workspace.tip() == tip
    assert not (place.root / "workspace.md").exists()
    put(workspace, ("workspace.md", b"2"))
    assert sorted(path.name for path in (place.root / ".git/floom/tmp").iterdir()) == []
    place.fsck()


def test_a_full_write_out_does_not_undo_the_commit(place: Place, workspace: Workspace) -> None:
    state = place.state / "materialised"
    kept = state.read_bytes()
    state.unlink()
    state.mkdir()
    with pytest.raises(WorkspaceUnavailable):
        put(workspace, ("workspace.md", b"1"))
    state.rmdir()
    state.write_bytes(kept)
    put(workspace, ("contexts/a/b", b"1"))
    assert place.on_disk() == place.in_git()


def test_every_waiting_caller_is_served_in_turn(workspace: Workspace) -> None:
    """Sixteen callers in a loop: none gets less than half of its fair share."""
    done = [0] * 16
    stop = threading.Event()

    def call(index: int) -> None:
        while not stop.is_set():
            put(workspace, (f"contexts/{index}/n", b"%d" % done[index]))
            done[index] += 1
            if sum(done) >= 640:
                stop.set()

    threads = [threading.Thread(target=call, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(done) >= 20, done


def test_the_path_of_the_scratch_folder_is_on_the_same_file_system(place: Place) -> None:
    workspace = place.open()
    scratch: Path = workspace._repository.scratch
    assert scratch.stat().st_dev == place.root.stat().st_dev
    workspace.close()
