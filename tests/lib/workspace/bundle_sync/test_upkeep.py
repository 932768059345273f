"""Folding, new bases and the sweep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from lib.clock import ManualClock
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore
from lib.workspace.bundle_sync import Bundles
from lib.workspace.bundle_sync.bundle_sync import BundleSync
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.bundle_sync.upkeep import FOLD_AT, KEEP, MIN_REBASE_BYTES, SWEEP_EVERY, Upkeep
from lib.workspace.repository import Repository
from lib.workspace.workspace import Workspace
from tests.contract.fused import Fuse
from tests.lib.workspace.bundle_sync.machine import (
    PREFIX,
    Machine,
    bundle_keys,
    clone_with_stock_git,
    pointer,
    put,
)


@contextmanager
def kept(machine: Machine) -> Iterator[tuple[Workspace, Upkeep]]:
    """A workspace and its upkeep, which goes on step by step."""
    made: list[Upkeep] = []

    def attach(bundles: Bundles, repository: Repository) -> BundleSync:
        sync = bundles.attach(repository)
        depot = Depot(machine.store, PREFIX)
        upkeep = Upkeep(sync, depot, repository.store, clock=machine.clock, writer="test")
        made.append(upkeep)
        return sync

    with machine.running(attach) as (workspace, _):
        yield workspace, made[0]


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
        noise = b"".join(b"%d\n" % (number**7) for number in range(MIN_REBASE_BYTES // 8))
        put(workspace, "contexts/a/large", noise)
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
