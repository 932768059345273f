"""Machines that share a workspace by a store of bundles: joining, publishing, following."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.errors import FloomError
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore, StoreUnavailable
from lib.workspace.bundle_sync.errors import (
    BundleStoreUnavailable,
    Diverged,
    NewerPointer,
    PointerLost,
)
from lib.workspace.workspace import Delete
from tests.contract.fused import Fuse
from tests.contract.threads import together
from tests.lib.workspace.bundle_sync.machine import (
    PREFIX,
    Machine,
    bundle_keys,
    new_machine,
    pointer,
    put,
)
from tests.lib.workspace.place import ANNA, write


class Down(Fuse):
    """A store that cannot be reached while `is_down`."""

    is_down = False

    def step(self, name: str) -> None:
        if self.is_down and name.startswith("before"):
            raise StoreUnavailable("The store cannot be reached.")


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

    @pytest.mark.parametrize("damage", [b"", b"{", b"null", b'{"version": 1}', b"\xff" * 50])
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


def test_a_folder_that_was_lost_is_written_anew(one: Machine) -> None:
    """What the data folder remembers of the old one is not believed."""
    with one.opened() as workspace:
        tip = put(workspace, "contexts/a/x", b"1")
    shutil.rmtree(one.place.root)
    with one.opened() as workspace:
        assert workspace.tip() == tip
        assert one.place.on_disk() == one.place.in_git()
