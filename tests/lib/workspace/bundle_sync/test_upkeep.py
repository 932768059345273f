"""Folding, new bases and the sweep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.storage.files import FileBlobStore
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore
from lib.workspace.bundle_sync.upkeep import FOLD_AT, KEEP, MIN_REBASE_BYTES, SWEEP_EVERY, Upkeep
from lib.workspace.workspace import Workspace
from tests.contract.fused import Fuse, Killed
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore
from tests.lib.workspace.bundle_sync.machine import (
    PREFIX,
    Machine,
    bundle_keys,
    clone_with_stock_git,
    kept,
    new_machine,
    pointer,
    put,
)
from tests.lib.workspace.place import wait_for

# more beside the base than a restore should read
NOISE = b"".join(b"%d\n" % (number**7) for number in range(MIN_REBASE_BYTES // 8))


def levels(store: BlobStore) -> list[int]:
    return [row[0] for row in pointer(store)["increments"]]


def test_sixteen_become_one(one: Machine, two: Machine, store: BlobStore) -> None:
    with kept(one) as (workspace, upkeep):
        for number in range(FOLD_AT - 1):
            put(workspace, f"contexts/a/{number}")
        assert not upkeep.step()
        put(workspace, "contexts/a/last")
        tip = put(workspace, "contexts/a/after")
        assert upkeep.step()
        assert levels(store) == [1, 0]
        assert not upkeep.step()
        assert workspace.refresh() == tip
        put(workspace, "contexts/a/more")
        with two.opened() as other:
            assert other.tip() == workspace.tip()
    two.place.fsck()


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_long_chain_stays_short(one: Machine, two: Machine, store: BlobStore) -> None:
    with kept(one) as (workspace, upkeep):
        for number in range(FOLD_AT * FOLD_AT + 20):
            put(workspace, f"contexts/a/{number % 7}", b"%d" % number)
            while upkeep.step():
                pass
        assert levels(store)[0] == 2
        assert len(levels(store)) < 2 * FOLD_AT
        tip = workspace.tip()
    clone = clone_with_stock_git(one.place, store)
    assert one.place.git("rev-parse", "HEAD", cwd=clone).strip() == tip
    assert one.place.git("log", "--format=%H", cwd=clone) == one.place.git(
        "log", "--format=%H", "main"
    )
    with two.opened() as other:
        assert other.tip() == tip
    two.place.fsck()


def test_a_base_is_made_anew_when_a_restore_reads_much_beside_it(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    with kept(one) as (workspace, upkeep):
        first = pointer(store)["base"]["key"]
        put(workspace, "contexts/a/large", NOISE)
        tip = put(workspace, "contexts/a/small")
        assert upkeep.step()
        head = pointer(store)
        assert head["base"]["key"] != first
        assert (head["base"]["tip"], head["tip"], head["increments"]) == (tip, tip, [])
        assert not upkeep.step()
        put(workspace, "contexts/a/more")
        with two.opened() as other:
            assert other.tip() == workspace.tip()
    two.place.fsck()


def test_who_publishes_meanwhile_loses_nothing_and_neither_does_the_fold(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    """Between the fold's bundle and its move of the pointer, another publishes."""
    with two.opened() as other:
        commits: list[str] = []

        def meanwhile(step: str) -> None:
            if step == "before put" and folding and len(commits) < 2:
                commits.append(put(other, f"contexts/b/{len(commits)}"))

        folding = False
        one.store = Fuse(between=meanwhile).protect(store)
        with kept(one) as (workspace, upkeep):
            for number in range(FOLD_AT):
                put(workspace, f"contexts/a/{number}")
            folding = True
            assert upkeep.step()
            folding = False
            assert levels(store) == [1, 0, 0]
            assert workspace.refresh() == commits[-1] == other.tip()


def test_one_that_is_publishing_while_it_is_folded_publishes_once(
    one: Machine, store: BlobStore
) -> None:
    """The pointer moves to the same tip: nothing has to be applied again."""
    made: list[Upkeep] = []
    puts: list[str] = []

    def meanwhile(step: str) -> None:
        if made and step == "after put":
            puts.append(step)
            if len(puts) == 1:
                upkeep = made.pop()
                upkeep.step()

    one.store = Fuse(between=meanwhile).protect(store)
    with kept(one) as (workspace, upkeep):
        for number in range(FOLD_AT):
            put(workspace, f"contexts/a/{number}")
        made.append(upkeep)
        tip = put(workspace, "contexts/a/last")
    assert levels(store) == [1, 0]
    assert pointer(store)["tip"] == tip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_the_sweep_deletes_what_is_old_and_unnamed(one: Machine, clock: ManualClock) -> None:
    store = MemoryBlobStore(clock)
    one.store, one.clock = store, clock
    with kept(one) as (workspace, upkeep):
        for number in range(FOLD_AT):
            put(workspace, f"contexts/a/{number}")
        store.put(f"{PREFIX}bundles/1-ffffffffffff.bundle", b"of a writer that was killed")
        assert upkeep.step()
        assert not upkeep.step()
        before = len([*store.list(PREFIX)])
        clock.advance(seconds=(SWEEP_EVERY + timedelta(minutes=1)).total_seconds())
        store.put(f"{PREFIX}bundles/2-ffffffffffff.bundle", b"of one that is slow")
        assert upkeep.step()
        assert not upkeep.step()
        left = {blob.key.removeprefix(PREFIX) for blob in store.list(f"{PREFIX}bundles/")}
        base = pointer(store)["base"]["key"]
        assert left == {
            *bundle_keys(store), base.replace(".bundle", ".idx"), "bundles/2-ffffffffffff.bundle",
        }  # fmt: skip
        assert len(left) + 1 < before
        clock.advance(seconds=(KEEP + SWEEP_EVERY).total_seconds())
        assert upkeep.step()
        assert store.find(f"{PREFIX}bundles/2-ffffffffffff.bundle") is None
        put(workspace, "contexts/a/more")


IN_MEMORY = pytest.mark.parametrize("store", ["memory"], indirect=True)
SWEPT_SECONDS = (KEEP + SWEEP_EVERY).total_seconds()  # what is that old and unnamed goes


class Meanwhile:
    """Does something once, when told to, just before a put of the pointer."""

    def __init__(self) -> None:
        self.do: Callable[[], object] | None = None

    def __call__(self, method: str, key: str) -> None:
        do = self.do
        if do is not None and method == "put" and key.endswith("HEAD.json"):
            self.do = None
            do()


def sweep(upkeep: Upkeep) -> None:
    """Sweep, as one does whose upkeep has just come to that."""
    known = upkeep._head.read()
    assert known is not None
    assert upkeep._sweep(known)


def all_keys(store: BlobStore) -> set[str]:
    """Return the keys of all that the pointer names."""
    base, *increments = bundle_keys(store)
    return {PREFIX + key for key in (base, base.replace(".bundle", ".idx"), *increments)}


def is_whole(store: BlobStore) -> bool:
    """Whether all that the pointer names is there."""
    return all(store.find(key) for key in all_keys(store))


@IN_MEMORY
def test_a_bundle_that_was_swept_while_its_writer_slept_is_stored_again(
    one: Machine, two: Machine, clock: ManualClock
) -> None:
    store, meanwhile = MemoryBlobStore(clock), Meanwhile()
    one.store, two.store = FaultyStore(store, meanwhile), store
    one.clock = two.clock = clock
    with kept(one) as (workspace, _), kept(two) as (other, upkeep):
        assert put(workspace, "contexts/a/first") == other.refresh()

        def asleep() -> None:
            clock.advance(seconds=SWEPT_SECONDS)
            assert upkeep.step()

        meanwhile.do = asleep
        tip = put(workspace, "contexts/a/second")
    assert pointer(store)["tip"] == tip
    assert is_whole(store)


@IN_MEMORY
def test_a_base_that_was_swept_while_its_maker_slept_is_not_used(
    one: Machine, two: Machine, clock: ManualClock
) -> None:
    store, meanwhile = MemoryBlobStore(clock), Meanwhile()
    one.store, two.store = FaultyStore(store, meanwhile), store
    one.clock = two.clock = clock
    with kept(one) as (workspace, slow), kept(two) as (_, upkeep):
        put(workspace, "contexts/a/large", NOISE)
        put(workspace, "contexts/a/small")

        def asleep() -> None:
            clock.advance(seconds=SWEPT_SECONDS)
            sweep(upkeep)

        meanwhile.do = asleep
        slow.step()
        assert is_whole(store)
        while slow.step():
            pass
        assert is_whole(store)
        assert levels(store) == []


@IN_MEMORY
def test_a_writer_whose_clock_is_behind_loses_no_bundle_to_a_sweep(
    one: Machine, two: Machine, tmp_path: Path
) -> None:
    """By the sweeper's clock, what was stored just now is older than a day."""
    one.clock, two.clock = ManualClock(), (ahead := ManualClock())
    ahead.advance(hours=25)
    meanwhile, root = Meanwhile(), tmp_path / "shared"
    store = FileBlobStore(root, clock=one.clock)
    one.store, two.store = FaultyStore(store, meanwhile), FileBlobStore(root, clock=ahead)
    with kept(one) as (workspace, _), kept(two) as (_, upkeep):
        put(workspace, "contexts/a/first")
        meanwhile.do = lambda: sweep(upkeep)
        put(workspace, "contexts/a/second")
    assert is_whole(store)


@IN_MEMORY
def test_a_fold_of_what_changed_back_and_again_is_read_by_stock_git(
    one: Machine, two: Machine, store: BlobStore
) -> None:
    text = b"\n".join(b"line %d" % number for number in range(300))
    with kept(one) as (workspace, upkeep):
        put(workspace, "contexts/a/file", text)
        for number in range(FOLD_AT):
            put(workspace, "contexts/a/file", text + b"on" * (number % 2))
        put(workspace, "contexts/a/file", text + b"last")
        assert upkeep.step()
        tip = workspace.tip()
    clone = clone_with_stock_git(one.place, store)
    assert one.place.git("rev-parse", "HEAD", cwd=clone).strip() == tip
    with two.opened() as other:
        assert other.tip() == tip
    two.place.fsck()


@IN_MEMORY
def test_the_thread_outlives_whatever_goes_wrong(one: Machine, store: BlobStore) -> None:
    failed = threading.Event()

    def choose(_method: str, _key: str) -> None:
        if threading.current_thread().name == "bundle-upkeep" and not failed.is_set():
            failed.set()
            raise TypeError("nobody thought of that")

    one.store = FaultyStore(store, choose)
    with one.running() as (workspace, bundles):
        bundles.start()
        for number in range(FOLD_AT):
            put(workspace, f"contexts/a/{number}")
        wait_for(failed.is_set)
        put(workspace, "contexts/a/next")
        wait_for(lambda: 1 in levels(store))


class Kill:
    """Counts down from `left` once it is set, and kills at zero: `between` of a Fuse."""

    left: int | None = None

    def during(self, upkeep: Upkeep, length: int) -> bool:
        """Let upkeep finish, or be killed after `length` steps; returns whether it was."""
        self.left = length
        try:
            while upkeep.step():
                pass
        except Killed:
            return True
        finally:
            self.left = None
        return False

    def __call__(self, _: str) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


def copy_of(store: MemoryBlobStore, clock: ManualClock) -> MemoryBlobStore:
    copy = MemoryBlobStore(clock)
    for blob in store.list(""):
        copy.put(blob.key, store.get(blob.key))
    return copy


def due_fold(workspace: Workspace) -> None:
    for number in range(FOLD_AT):
        put(workspace, f"contexts/a/{number}")


def due_base(workspace: Workspace) -> None:
    put(workspace, "contexts/a/large", NOISE)


def due_sweep(workspace: Workspace) -> None:
    put(workspace, "contexts/a/small")


@IN_MEMORY
@pytest.mark.parametrize("make_due", [due_fold, due_base, due_sweep])
def test_upkeep_killed_at_any_step_loses_nothing_and_is_finished_by_others(
    one: Machine, tmp_path: Path, make_due: Callable[[Workspace], None]
) -> None:
    one.store = prepared = MemoryBlobStore()
    with one.opened() as workspace:
        prepared.put(f"{PREFIX}bundles/1-ffffffffffff.bundle", b"of a killed writer")
        make_due(workspace)
        tip = workspace.tip()
    for length in count():
        clock, kill = ManualClock(), Kill()
        store = copy_of(prepared, clock)
        if make_due is due_sweep:
            clock.advance(seconds=SWEPT_SECONDS)
        killed = new_machine(tmp_path, f"killed-{length}", Fuse(between=kill).protect(store))
        other = new_machine(tmp_path, f"other-{length}", store)
        killed.clock = other.clock = clock
        with kept(killed) as (_, upkeep):
            was_killed = kill.during(upkeep, length)
        assert is_whole(store)
        clock.advance(seconds=SWEPT_SECONDS)
        with kept(other) as (workspace, upkeep):
            assert workspace.tip() == tip
            while upkeep.step():
                pass
        assert {blob.key for blob in store.list(f"{PREFIX}bundles/")} == all_keys(store)
        assert len(bundle_keys(store)) <= 2
        with killed.opened() as workspace:
            assert workspace.tip() == tip
        if not was_killed:
            break
    assert 4 < length < 20
    last = new_machine(tmp_path, "last", store)
    with last.opened() as workspace:
        assert workspace.tip() == tip
    last.place.fsck()
