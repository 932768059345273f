"""Machines that share a workspace by a store of bundles: joining, publishing, following."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from lib.clock import ManualClock
from lib.errors import FloomError
from lib.storage.conditions import StoreWithoutConditions
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobInfo, BlobStore, StoreUnavailable
from lib.workspace.bundle_sync import Bundles
from lib.workspace.bundle_sync.bundle_sync import BundleSync
from lib.workspace.bundle_sync.errors import (
    BundleStoreUnavailable,
    Diverged,
    NewerPointer,
    PointerLost,
)
from lib.workspace.errors import CommitInDoubt
from lib.workspace.ref import Ref
from lib.workspace.repository import Repository
from lib.workspace.workspace import Delete, Edit, Put, TreeView, Workspace
from tests.contract.fused import Fuse
from tests.contract.threads import together
from tests.lib.storage.test_files import no_file_above
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore, Silence
from tests.lib.workspace.bundle_sync.machine import (
    PREFIX,
    Machine,
    bundle_keys,
    clone_with_stock_git,
    new_machine,
    pointer,
    put,
)
from tests.lib.workspace.place import ANNA, wait_for, write


class Down(Fuse):
    """A store that cannot be reached while `is_down`."""

    is_down = False

    def step(self, name: str) -> None:
        if self.is_down and name.startswith("before"):
            raise StoreUnavailable("The store cannot be reached.")


class OnceMoved:
    """Does something once, when told to, just after the pointer moved."""

    def __init__(self, store: BlobStore) -> None:
        self.do: Callable[[], object] | None = None
        self.store = Fuse(between=self._between).protect(store)
        self._real = store
        self._tip = ""

    @property
    def is_done(self) -> bool:
        return self.do is None

    def _between(self, step: str) -> None:
        if step == "before put":
            head = self._real.find(f"{PREFIX}HEAD.json")
            self._tip = head.etag if head else ""
        elif step == "after put" and self.do is not None:
            head = self._real.find(f"{PREFIX}HEAD.json")
            if head is not None and head.etag != self._tip:
                do, self.do = self.do, None
                do()


def open_issue(workspace: Workspace) -> list[int]:
    """Add an issue with the next number; returns the numbers that it was given, one a try."""
    numbers: list[int] = []

    def change(tree: TreeView) -> list[Edit]:
        number = int(tree.find_bytes("contexts/a/next") or b"0") + 1
        numbers.append(number)
        return [
            Put("contexts/a/next", b"%d" % number), Put(f"contexts/issues/{number}", b"open"),
        ]  # fmt: skip

    workspace.commit(change, lambda: f"open {numbers[-1]}", ANNA)
    return numbers


def issues(workspace: Workspace) -> list[str]:
    return sorted(name for name, _ in workspace.view().names("contexts/issues"))


def follow(workspace: Workspace, tip: str) -> None:
    """Refresh until main is there: who has just committed may not have let go yet."""
    wait_for(lambda: workspace.refresh() == tip)


def take_staged(machine: Machine) -> None:
    """Take away what the branch is about to be moved to."""
    for value in (machine.place.root / ".git/floom/tmp").glob("ref-*"):
        value.unlink()


def delete_x(tree: TreeView) -> list[Edit]:
    return [Delete("contexts/a/x")] if tree.find("contexts/a/x") else []


class TestPublishing:
    def test_what_is_acknowledged_is_in_the_store(self, one: Machine, store: BlobStore) -> None:
        with one.opened() as workspace:
            assert pointer(store)["tip"] == workspace.tip()
            commit = put(workspace, "contexts/a/x")
            assert pointer(store)["tip"] == commit

    def test_a_commit_is_a_small_bundle(self, one: Machine, store: BlobStore) -> None:
        with one.opened() as workspace:
            for number in range(50):
                put(workspace, f"contexts/a/{number}", b"%d" % number)
        sizes = [row[4] for row in pointer(store)["increments"]]
        assert max(sizes) < 1024

    def test_another_machine_sees_it_and_builds_on_it(self, one: Machine, two: Machine) -> None:
        with one.opened() as first, two.opened() as second:
            assert second.tip() == first.tip()
            commit = put(first, "contexts/a/x", b"1")
            assert second.refresh() == commit
            assert second.view().read("contexts/a/x") == b"1"
            assert (two.place.root / "contexts/a/x").read_bytes() == b"1"
            commit = put(second, "contexts/a/y", b"2")
            assert first.refresh() == commit
        one.place.fsck()
        two.place.fsck()

    def test_a_lost_race_is_applied_again(self, one: Machine, two: Machine) -> None:
        with one.opened() as first, two.opened() as second:
            put(first, "contexts/a/x")
            put(second, "contexts/a/y")  # it has not read that the tip moved
            assert second.view().read("contexts/a/x") == b"x"
            assert first.refresh() == second.tip()

    def test_any_number_of_writers_lose_nothing(self, tmp_path: Path, store: BlobStore) -> None:
        machines = [new_machine(tmp_path, f"m{number}", store) for number in range(3)]

        def work(number: int) -> list[str]:
            with machines[number % 3].opened() as workspace:
                return [put(workspace, f"contexts/{number}/{each}") for each in range(8)]

        done = together(work, count=3)
        commits = {commit for made in done if isinstance(made, list) for commit in made}
        assert len(commits) == 24
        with new_machine(tmp_path, "last", store).opened() as last:
            assert {sha for sha, _ in last.history()} >= commits
            assert len([*last.view().walk("contexts")]) == 24

    def test_a_persons_push_is_published(self, one: Machine, two: Machine) -> None:
        with one.opened() as first, two.opened() as second:
            commit = one.place.push_commit("contexts/a/x", b"pushed")
            assert first.refresh() == commit
            assert second.refresh() == commit

    def test_a_push_beside_anothers_commit_is_joined(self, one: Machine, two: Machine) -> None:
        with one.opened() as first, two.opened() as second:
            pushed = one.place.push_commit("contexts/a/x", b"pushed")
            published = put(second, "contexts/a/y", b"published")
            tip = put(first, "contexts/a/z")
            assert {sha for sha, _ in first.history()} >= {published, tip}
            assert {each for each, _ in first.view().names("contexts/a")} == {"x", "y", "z"}
            assert second.refresh() == tip
            joined = first.commit_info(first.commit_info(tip).parents[0])
            assert joined.parents == (published, pushed)

    def test_two_processes_of_one_folder_share_its_tip(
        self, one: Machine, store: BlobStore
    ) -> None:
        other = Machine(one.place, store)
        with one.opened() as first, other.opened() as second:
            put(first, "contexts/a/x")
            put(second, "contexts/a/y")
            put(first, "contexts/a/z")
            assert len([*second.view().walk("contexts")]) == 3


class TestJoining:
    def test_an_empty_folder_is_restored(self, one: Machine, two: Machine) -> None:
        with one.opened() as first:
            commits = [put(first, f"contexts/a/{number}", b"%d" % number) for number in range(20)]
            first.commit(lambda _: [Delete("contexts/a/3")], "delete", ANNA)
            tip, files = first.tip(), one.place.on_disk()
        with two.opened() as second:
            assert second.tip() == tip
            assert {sha for sha, _ in second.history()} > {*commits}
            assert two.place.on_disk() == files
        two.place.fsck()

    def test_a_folder_with_history_is_uploaded(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        alone = one.place.open()
        put(alone, "contexts/a/x", b"before")
        tip = alone.tip()
        alone.close()
        with one.opened() as first, two.opened() as second:
            assert first.tip() == second.tip() == tip

    @pytest.mark.parametrize("seeds", ["same", "other"])
    def test_a_seed_counts_as_empty(self, one: Machine, two: Machine, seeds: str) -> None:
        two.place.open().close()
        if seeds == "other":
            write(one.place.seed / "second/worker.yml", b"name: second\n")
        with one.opened() as first:
            tip = put(first, "contexts/a/x")
        seed = two.place.git("rev-parse", "main").strip()
        with two.opened() as second:
            assert second.tip() == tip
            assert second.commit_info(seed).tree  # runs may be frozen at it

    def test_a_published_seed_counts_as_empty(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        write(one.place.seed / "second/worker.yml", b"name: second\n")
        with one.opened() as first:
            assert first.tip() == pointer(store)["tip"]
        alone = two.place.open()
        tip = put(alone, "contexts/a/x")
        alone.close()
        with two.opened() as second, one.opened() as first:
            assert first.tip() == second.tip() == tip

    def test_both_went_on_and_are_joined(self, one: Machine, two: Machine) -> None:
        with one.opened() as first, two.opened():
            put(first, "contexts/a/theirs", b"1")
            put(first, "contexts/both", b"same")
        alone = two.place.open()
        ours = put(alone, "contexts/a/ours", b"2")
        put(alone, "contexts/both", b"same")
        alone.close()
        with two.opened() as second, one.opened() as first:
            assert first.tip() == second.tip()
            assert second.view().read("contexts/a/ours") == b"2"
            assert second.view().read("contexts/a/theirs") == b"1"
            assert second.commit_info(ours).tree
            assert first.view().read("contexts/a/ours") == b"2"
        two.place.fsck()

    def test_a_path_changed_on_both_sides_is_refused_by_name(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        with one.opened() as first, two.opened():
            put(first, "contexts/a/x", b"1")
        alone = two.place.open()
        put(alone, "contexts/a/x", b"2")
        put(alone, "contexts/a/y", b"2")
        tip = alone.tip()
        alone.close()
        before = store.get(f"{PREFIX}HEAD.json")
        clock = two.clock = ManualClock()
        with two.running() as (second, bundles):
            assert second.tip() == tip
            assert second.view().read("contexts/a/x") == b"2"
            with pytest.raises(Diverged, match=r"changed contexts/a/x\."):
                put(second, "contexts/a/z")
            assert "contexts/a/x" in (bundles.state().last_error or "")
            clock.advance(seconds=5)
            since = bundles.state().failing_since
            second.refresh()
            assert "contexts/a/x" in (bundles.state().last_error or "")
            assert bundles.state().failing_since == since
            assert second.tip() == tip
        assert store.get(f"{PREFIX}HEAD.json") == before

        # a person merges with stock git
        place = two.place
        clone, published = place.clone(), pointer(store)["tip"]
        place.git("fetch", "-q", "origin", f"refs/floom/kept/{published}", cwd=clone)
        place.git("merge", "-q", "-s", "ours", "--no-edit", "FETCH_HEAD", cwd=clone)
        place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        with two.opened() as second, one.opened() as first:
            assert first.tip() == second.tip() != tip
            assert first.view().read("contexts/a/x") == b"2"

    def test_another_workspace_is_refused(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        write(one.place.seed / "second/worker.yml", b"name: second\n")
        with one.opened() as first:
            put(first, "contexts/a/x")
        alone = two.place.open()
        put(alone, "contexts/a/x")
        tip = alone.tip()
        alone.close()
        before = store.get(f"{PREFIX}HEAD.json")
        with two.opened() as second:
            with pytest.raises(Diverged, match="two workspaces"):
                put(second, "contexts/a/y")
            assert second.tip() == tip
        assert store.get(f"{PREFIX}HEAD.json") == before


@pytest.fixture
def once(one: Machine, store: BlobStore) -> OnceMoved:
    """What happens once, when machine one has just moved the pointer."""
    once = OnceMoved(store)
    one.store = once.store
    return once


class TestPublishedIsPublished:
    """What the pointer leads to stands, whatever happens before the branch is there."""

    def test_a_push_just_before_the_branch_moves_is_joined(
        self, once: OnceMoved, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        with one.opened() as first:
            open_issue(first)
            clone = one.place.clone()
            once.do = lambda: one.place.push_commit("contexts/b", b"pushed", clone=clone)
            assert open_issue(first) == [2]
            assert once.is_done
            assert issues(first) == ["1", "2"]
            assert first.view().read("contexts/b") == b"pushed"
            with two.opened() as second:
                assert second.tip() == first.tip()
            assert open_issue(first) == [3]

    def test_a_push_of_the_same_path_is_left_to_a_person(
        self, once: OnceMoved, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as first:
            open_issue(first)
            clone = one.place.clone()
            once.do = lambda: one.place.push_commit("contexts/a/next", b"7", clone=clone)
            assert open_issue(first) == [2]
            published = pointer(store)["tip"]
            with pytest.raises(Diverged, match="contexts/a/next"):
                open_issue(first)
            assert pointer(store)["tip"] == published
            assert first.commit_info(published).message == "open 2\n"

    @pytest.mark.soak  # it tries for ten seconds
    def test_a_branch_that_cannot_be_read_then_is_no_failure_of_the_commit(
        self, once: OnceMoved, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            open_issue(workspace)
            main = one.place.root / ".git/refs/heads/main"
            before = main.read_bytes()
            once.do = lambda: main.write_bytes(b"")
            assert open_issue(workspace) == [2]
            main.write_bytes(before)
            # made on the branch first, then on what was published
            assert open_issue(workspace)[-1] == 3
            assert issues(workspace) == ["1", "2", "3"]

    def test_a_value_that_cannot_be_removed_then_is_no_failure_of_the_commit(
        self, once: OnceMoved, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            open_issue(workspace)
            scratch = one.place.root / ".git/floom/tmp"

            def put_a_folder_in_its_place() -> None:
                for value in scratch.glob("ref-*"):
                    value.unlink()
                    value.mkdir()

            once.do = put_a_folder_in_its_place
            assert open_issue(workspace) == [2]
            for value in scratch.glob("ref-*"):
                value.rmdir()
            # made on the branch first, then on what was published
            assert open_issue(workspace)[-1] == 3

    def test_a_lock_that_a_killed_push_left_doubles_nothing(
        self, one: Machine, store: BlobStore
    ) -> None:
        def attach(bundles: Bundles, repository: Repository) -> BundleSync:
            repository.ref = Ref(repository.git_dir, repository.scratch, foreign_lock_seconds=0.05)
            return bundles.attach(repository)

        with one.running(attach) as (workspace, _):
            open_issue(workspace)
            (one.place.root / ".git/refs/heads/main.lock").write_bytes(b"")
            assert open_issue(workspace) == [2]
            assert issues(workspace) == ["1", "2"]
            assert workspace.tip() == pointer(store)["tip"]

    def test_a_branch_that_cannot_be_moved_follows_later(
        self, once: OnceMoved, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            open_issue(workspace)
            once.do = lambda: take_staged(one)
            assert open_issue(workspace) == [2]
            follow(workspace, pointer(store)["tip"])
            assert issues(workspace) == ["1", "2"]
            assert open_issue(workspace) == [3]

    def test_what_is_in_doubt_and_was_looked_at_is_whole(
        self, one: Machine, store: BlobStore
    ) -> None:
        """Whoever reads meanwhile finds the commit, and so do all who come later."""
        repositories: list[Repository] = []

        def attach(bundles: Bundles, repository: Repository) -> BundleSync:
            repositories.append(repository)
            return bundles.attach(repository)

        def look(_: float) -> None:
            if silence.has_fallen:
                assert repositories[0].store.has(pointer(store)["tip"])

        silence = Silence("lost after")
        one.store, one.wait = FaultyStore(store, silence), look
        with one.running(attach) as (workspace, _):
            open_issue(workspace)
            silence.falls()
            with pytest.raises(CommitInDoubt):
                open_issue(workspace)
            silence.ends()
            follow(workspace, pointer(store)["tip"])
            assert issues(workspace) == ["1", "2"]
            one.place.fsck()
            assert open_issue(workspace) == [3]
        one.place.fsck()

    def test_a_commit_that_was_not_tried_is_not_in_doubt(
        self, one: Machine, store: BlobStore
    ) -> None:
        """What has no answer is a person's push, which is published first."""
        silence = Silence("lost before")
        one.store, one.wait = FaultyStore(store, silence), lambda _: None
        with one.opened() as workspace:
            open_issue(workspace)
            pushed = one.place.push_commit("contexts/b", b"pushed")
            silence.falls()
            with pytest.raises(BundleStoreUnavailable, match="nothing of this request was tried"):
                open_issue(workspace)
            silence.ends()
            assert open_issue(workspace) == [2]
            assert pushed in {sha for sha, _ in workspace.history()}

    def test_nothing_to_do_is_an_answer_of_the_newest_tree(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        one.refresh_seconds = 3600
        with one.opened() as first, two.opened() as second:
            put(second, "contexts/a/x")
            gone = first.commit(delete_x, "delete", ANNA)
            assert gone.created
            assert second.refresh() == gone.commit == pointer(store)["tip"]
            assert not first.commit(delete_x, "delete", ANNA).created

    def test_without_the_store_nobody_knows_that_there_is_nothing_to_do(self, one: Machine) -> None:
        down = Down()
        one.store = down.protect(one.store)
        with one.opened() as workspace:
            down.is_down = True
            with pytest.raises(StoreUnavailable):
                workspace.commit(delete_x, "delete", ANNA)


class TestTheStoreFails:
    def test_a_new_workspace_is_not_begun_without_it(self, one: Machine) -> None:
        down = Down()
        down.is_down = True
        one.store = down.protect(one.store)
        with pytest.raises(StoreUnavailable), one.opened():
            pass
        assert not (one.place.root / ".git/refs/heads/main").exists()
        down.is_down = False
        with one.opened() as workspace:
            assert workspace.tip()

    def test_a_known_workspace_is_read_and_not_written(self, one: Machine) -> None:
        with one.opened() as workspace:
            tip = put(workspace, "contexts/a/x")
        write(one.place.root / "contexts/a/by-hand", b"1")
        down = Down()
        down.is_down = True
        one.store = down.protect(one.store)
        with one.running() as (workspace, bundles):
            assert workspace.refresh() == tip
            assert workspace.view().read("contexts/a/x") == b"x"
            with pytest.raises(StoreUnavailable):
                put(workspace, "contexts/a/y")
            assert workspace.tip() == tip
            assert bundles.state().last_error == "The store cannot be reached."
            down.is_down = False
            commit = put(workspace, "contexts/a/y")
            assert commit in {sha for sha, _ in workspace.history()}
            assert bundles.state().last_error is None
            workspace.refresh()  # what was made while no server ran is recorded now
            assert workspace.view().read("contexts/a/by-hand") == b"1"

    def test_a_lost_pointer_is_no_new_workspace(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            tip = put(workspace, "contexts/a/x")
            store.delete(f"{PREFIX}HEAD.json")
            with pytest.raises(PointerLost, match=r"HEAD\.json"):
                put(workspace, "contexts/a/y")
            assert workspace.tip() == tip
            assert store.find(f"{PREFIX}HEAD.json") is None
        with one.opened() as workspace, pytest.raises(PointerLost):
            put(workspace, "contexts/a/y")

    def test_a_lost_store_is_uploaded_again_when_a_person_says_so(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            tip = put(workspace, "contexts/a/x")
        for blob in [*store.list(PREFIX)]:
            store.delete(blob.key)
        (one.place.root / ".git/floom/bundles.json").unlink()
        with one.opened() as workspace, two.opened() as other:
            assert workspace.tip() == other.tip() == tip
            assert put(workspace, "contexts/a/y") == other.refresh()

    @pytest.mark.parametrize(
        "damage", [b"", b"{", b"null", b'{"version": 1}', b"\xff" * 50, b"[" * 200_000], ids=len
    )
    def test_a_damaged_pointer_is_left_as_it_is(
        self, one: Machine, two: Machine, store: BlobStore, damage: bytes
    ) -> None:
        with one.opened() as workspace:
            put(workspace, "contexts/a/x")
            store.put(f"{PREFIX}HEAD.json", damage)
            with pytest.raises(BundleStoreUnavailable, match="damaged"):
                put(workspace, "contexts/a/y")
        with pytest.raises(BundleStoreUnavailable, match="damaged"), two.opened():
            pass
        assert store.get(f"{PREFIX}HEAD.json") == damage
        assert not (two.place.root / ".git/refs/heads/main").exists()

    def test_a_newer_programs_pointer_is_refused(
        self, one: Machine, two: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            newer = store.get(f"{PREFIX}HEAD.json").replace(b'"version":1', b'"version":2,"x":1')
            store.put(f"{PREFIX}HEAD.json", newer)
            with pytest.raises(NewerPointer, match="version 2"):
                put(workspace, "contexts/a/y")
        assert store.get(f"{PREFIX}HEAD.json") == newer

    @pytest.mark.parametrize("which", [0, 1, 2])
    @pytest.mark.parametrize("how", ["lost", "changed", "short", "other"])
    def test_a_damaged_bundle_restores_nothing(
        self, one: Machine, two: Machine, store: BlobStore, which: int, how: str
    ) -> None:
        with one.opened() as workspace:
            for number in range(3):
                put(workspace, f"contexts/a/{number}")
        keys = [PREFIX + key for key in bundle_keys(store)]
        key, data = keys[which], store.get(keys[which])
        store.delete(key)
        damaged = {
            "changed": data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
            "short": data[:-1],
            "other": store.get(keys[which - 1]),
        }
        if how != "lost":
            store.put(key, damaged[how])
        with pytest.raises(FloomError), two.opened():
            pass
        assert not (two.place.root / ".git/refs/heads/main").exists()
        store.put(key, data)
        with two.opened() as second, one.opened() as first:
            assert second.tip() == first.tip()

    def test_a_torn_note_and_a_lost_pointer_are_no_new_workspace(
        self, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            put(workspace, "contexts/a/x")
        note = one.place.root / ".git/floom/bundles.json"
        note.write_bytes(note.read_bytes()[:10])
        store.delete(f"{PREFIX}HEAD.json")
        with one.opened() as workspace, pytest.raises(PointerLost):
            put(workspace, "contexts/a/y")
        assert store.find(f"{PREFIX}HEAD.json") is None

    def test_what_was_made_by_hand_meanwhile_is_recorded_once_the_store_is_back(
        self, one: Machine, store: BlobStore
    ) -> None:
        with one.opened() as workspace:
            put(workspace, "contexts/a/x")
        write(one.place.root / "workers/mine/worker.yml", b"name: mine\n")
        down = Down()
        down.is_down = True
        one.store = down.protect(store)
        with one.opened() as workspace:
            workspace.refresh()
            assert workspace.view().find("workers/mine") is None
            down.is_down = False
            workspace.refresh()
            assert workspace.view().read("workers/mine/worker.yml") == b"name: mine\n"
            assert workspace.tip() == pointer(store)["tip"]

    def test_refreshing_never_fails(self, one: Machine, store: BlobStore) -> None:
        with one.running() as (workspace, bundles):
            tip = put(workspace, "contexts/a/x")
            store.put(f"{PREFIX}HEAD.json", b"{")
            assert workspace.refresh() == tip
            assert "damaged" in (bundles.state().last_error or "")


def test_reads_ask_the_store_now_and_then(one: Machine) -> None:
    asked: list[str] = []
    fuse = Fuse(between=asked.append)
    one.store, one.refresh_seconds = fuse.protect(MemoryBlobStore()), 3600
    with one.opened() as workspace:
        asked.clear()
        for _ in range(50):
            workspace.refresh()
        assert len(asked) <= 2
        commit = put(workspace, "contexts/a/x")
        assert workspace.refresh() == commit  # what was written here is always there


@pytest.mark.parametrize("how", ["start", "refresh"])
def test_a_write_out_that_was_cut_short_is_finished_before_others_commits_come(
    one: Machine, two: Machine, how: str
) -> None:
    """Else its files would be taken for somebody's edits, and no commit could change them."""
    with one.opened() as first:
        with two.opened() as second:
            put(second, "contexts/a/x", b"1")
            state = (two.place.state / "materialised").read_bytes()
            put(second, "contexts/a/x", b"2")
            if how == "refresh":  # another process of the folder was killed
                (two.place.state / "materialised").write_bytes(state)
                put(first, "contexts/a/x", b"3")
                second.refresh()
                put(second, "contexts/a/x", b"4")
        if how == "start":
            (two.place.state / "materialised").write_bytes(state)
            put(first, "contexts/a/x", b"3")
            with two.opened() as second:
                assert (two.place.root / "contexts/a/x").read_bytes() == b"3"
                put(second, "contexts/a/x", b"4")
        first.refresh()
        assert first.view().read("contexts/a/x") == b"4"
        assert (two.place.root / "contexts/a/x").read_bytes() == b"4"


def test_a_folder_that_was_lost_is_written_anew(one: Machine) -> None:
    """What the data folder remembers of the old one is not believed."""
    with one.opened() as workspace:
        tip = put(workspace, "contexts/a/x", b"1")
    shutil.rmtree(one.place.root)
    with one.opened() as workspace:
        assert workspace.tip() == tip
        assert one.place.on_disk() == one.place.in_git()


def test_a_full_disk_is_got_over(one: Machine, two: Machine) -> None:
    """There is room for a pack and not for its index."""
    with one.opened() as first, two.opened() as second:
        before, tip = second.tip(), put(first, "contexts/a/x")
        with no_file_above(1000):
            assert second.refresh() == before
        assert second.refresh() == tip
        put(second, "contexts/a/y")
    two.place.fsck()


def test_a_part_of_the_repository_that_was_lost_is_restored(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    with one.opened() as first:
        put(first, "contexts/a/1")
        with two.opened():
            pass
        put(first, "contexts/a/2")
    with two.opened() as second:
        put(second, "contexts/a/3")
    packs = (two.place.root / ".git/objects/pack").glob("*.pack")
    largest = max(packs, key=lambda each: each.stat().st_size)
    for lost in (largest, largest.with_suffix(".idx")):
        lost.unlink()
    with two.opened() as second:
        assert second.tip() == pointer(store)["tip"]
        assert second.view().read("workers/hello/run.py") == b"print('hello')\n"
        put(second, "contexts/a/4")
    two.place.fsck()


def test_a_gitlink_is_published_and_so_is_the_file_in_its_place(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    git = one.place.git
    with one.opened() as first:
        clone = one.place.clone()
        git("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},contexts/sub", cwd=clone)
        git("commit", "-qm", "a submodule", cwd=clone)
        git("push", "-q", "origin", "HEAD:main", cwd=clone)
        assert first.refresh() == pointer(store)["tip"]
        git("update-index", "--force-remove", "contexts/sub", cwd=clone)
        tip = one.place.push_commit("contexts/sub", b"a file now\n" * 50, clone=clone)
        assert first.refresh() == pointer(store)["tip"] == tip
        put(first, "contexts/a/x")
        with two.opened() as second:
            assert second.tip() == first.tip()
    two.place.fsck()


def test_any_history_that_git_makes_is_restored(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    """Empty commits, two roots, an octopus, a link."""
    git, made = one.place.git, one.place.base / "made"
    git("init", "-q", str(made), cwd=one.place.base)

    def commit(name: str) -> None:
        write(made / name, name.encode())
        git("add", "-A", ".", cwd=made)
        git("commit", "-qm", name, cwd=made)

    git("commit", "-q", "--allow-empty", "-m", "nothing", cwd=made)
    commit("f")
    git("checkout", "-q", "--orphan", "second", cwd=made)
    git("rm", "-rfq", ".", cwd=made)
    git("commit", "-q", "--allow-empty", "-m", "second root", cwd=made)
    for name in "abc":
        git("checkout", "-q", "-b", name, "main", cwd=made)
        commit(name)
    git("checkout", "-q", "main", cwd=made)
    git("merge", "-q", "-m", "octopus", *"abc", cwd=made)
    git("merge", "-q", "--allow-unrelated-histories", "-m", "unrelated", "second", cwd=made)
    (made / "link").symlink_to("f")
    commit("last")
    git("clone", "-q", "--bare", str(made), str(one.place.root / ".git"), cwd=one.place.base)

    with one.opened() as first:
        tip = put(first, "contexts/a/x")
    clone = clone_with_stock_git(one.place, store)
    assert git("rev-parse", "HEAD", cwd=clone).strip() == tip
    assert git("fsck", "--strict", "--full", cwd=clone) == ""
    with two.opened() as second:
        assert second.tip() == tip
    two.place.fsck()
    git("clone", "-q", str(two.place.root), str(two.place.base / "clone"), cwd=two.place.base)


class Full(Fuse):
    """A store that can be read while nothing more fits in."""

    is_full = False

    def step(self, name: str) -> None:
        if self.is_full and name == "before put":
            raise StoreUnavailable("The quota is used up.")


def test_that_nothing_can_be_written_is_told_until_something_was(one: Machine) -> None:
    full = Full()
    one.store = full.protect(one.store)
    with one.running() as (workspace, bundles):
        put(workspace, "contexts/a/x")
        full.is_full = True
        with pytest.raises(StoreUnavailable):
            put(workspace, "contexts/a/y")
        workspace.refresh()  # which works
        assert bundles.state().last_error == "The quota is used up."
        full.is_full = False
        workspace.refresh()
        assert bundles.state().last_error == "The quota is used up."
        put(workspace, "contexts/a/y")
        assert bundles.state().last_error is None


def test_a_store_that_takes_something_again_is_found_out_without_a_commit(one: Machine) -> None:
    full, syncs = Full(), list[BundleSync]()
    one.store = full.protect(one.store)

    def attach(bundles: Bundles, repository: Repository) -> BundleSync:
        syncs.append(bundles.attach(repository))
        return syncs[0]

    with one.running(attach) as (workspace, bundles):
        full.is_full = True
        with pytest.raises(StoreUnavailable):
            put(workspace, "contexts/a/y")
        syncs[0].tend()
        assert bundles.state().last_error is not None
        full.is_full = False
        syncs[0].tend()
        assert bundles.state().last_error is None


def test_commits_in_doubt_are_counted_once(one: Machine, store: BlobStore) -> None:
    silence = Silence("lost before")
    one.store, one.wait = FaultyStore(store, silence), lambda _: None
    with one.running() as (workspace, bundles):
        put(workspace, "contexts/a/x")
        silence.falls()
        with pytest.raises(CommitInDoubt):
            put(workspace, "contexts/a/y")
        silence.ends()
        assert bundles.state().in_doubt == 1


def test_a_store_that_ignores_conditions_is_told_by_its_code(one: Machine) -> None:
    """Known workspaces open where the store is down; found out later, nothing is written."""

    class Careless(MemoryBlobStore):
        def put(self, key: str, data: bytes | BinaryIO, **_conditions: object) -> BlobInfo:
            return super().put(key, data)

    with one.opened() as workspace:
        tip = put(workspace, "contexts/a/x")
    down = Down()
    one.store, down.is_down = down.protect(Careless()), True
    with one.running() as (workspace, bundles):
        down.is_down = False
        with pytest.raises(StoreWithoutConditions):
            put(workspace, "contexts/a/y")
        assert bundles.state().last_code == "store_without_conditions"
        assert workspace.refresh() == tip
    with pytest.raises(StoreWithoutConditions), one.opened():
        pass


def test_back_to_a_point_in_time_by_going_forwards(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    """As the documents say, with stock git."""
    git = one.place.git
    with one.opened() as first, two.opened() as second:
        then = put(first, "contexts/a/x", b"then")
        files = one.place.in_git()
        put(first, "contexts/a/x", b"now")
        put(first, "contexts/a/y", b"new")
        clone = one.place.clone()
        git("restore", f"--source={then}", "--staged", "--worktree", ".", cwd=clone)
        git("commit", "-qm", "back", cwd=clone)
        git("push", "-q", "origin", "HEAD:main", cwd=clone)
        assert first.refresh() == second.refresh() == pointer(store)["tip"]
        assert one.place.in_git() == two.place.in_git() == two.place.on_disk() == files
        assert {info.message for _, info in second.history()} >= {"put contexts/a/y\n", "back\n"}
