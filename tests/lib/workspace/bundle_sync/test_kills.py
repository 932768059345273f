"""A machine that is killed at any step of its start loses nothing and blocks nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.storage.memory.blobs import MemoryBlobStore
from lib.workspace.bundle_sync import Bundles
from lib.workspace.bundle_sync.bundle_sync import BundleSync
from lib.workspace.repository import Repository
from tests.contract.fused import Fuse, Killed
from tests.lib.workspace.bundle_sync.machine import (
    Machine,
    clone_with_stock_git,
    new_machine,
    pointer,
    put,
)

WRITES = ("add_pack", "point", "keep")  # of the repository; a kill before and after each


class FuseOfThread(Fuse):
    """Burns in the thread that starts the machine only: another's death would be no kill."""

    def step(self, name: str) -> None:
        if threading.current_thread() is threading.main_thread():
            super().step(name)


class Steps:
    """A repository whose writes are steps of a fuse."""

    def __init__(self, repository: Repository, fuse: Fuse) -> None:
        self._repository = repository
        self._fused = fuse.protect(repository)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fused if name in WRITES else self._repository, name)


def killed_starts(machine: Machine, arrange: Callable[[], None]) -> Iterator[bool]:
    """Start the machine again and again, killed one step later each time; yields whether it was.

    `arrange` makes everything as it is to be before a start.
    """
    store, length, was_killed = machine.store, 0, True
    while was_killed:
        arrange()
        fuse = FuseOfThread(length)
        machine.store = fuse.protect(store)

        def attach(bundles: Bundles, repository: Repository, fuse: Fuse = fuse) -> BundleSync:
            steps: Any = Steps(repository, fuse)
            return bundles.attach(steps)

        try:
            with machine.running(attach):
                was_killed = False
        except Killed:
            pass
        machine.store = store
        yield was_killed
        length += 1
    assert length > 1


class Places:
    """Fresh folders for a machine whose earlier ones were killed in."""

    def __init__(self, base: Path, store: MemoryBlobStore) -> None:
        self._base = base
        self._store = store
        self._count = 0

    def fresh(self, machine: Machine) -> None:
        self._count += 1
        machine.place = new_machine(self._base, f"start{self._count}", self._store).place


@pytest.fixture
def store() -> MemoryBlobStore:
    return MemoryBlobStore()


def test_in_a_restore(tmp_path: Path, store: MemoryBlobStore, one: Machine) -> None:
    two, places = new_machine(tmp_path, "two", store), Places(tmp_path, store)
    with one.opened() as first:
        for number in range(3):
            put(first, f"contexts/a/{number}")
        tip = first.tip()
    for _ in killed_starts(two, lambda: places.fresh(two)):
        with two.opened() as second:
            assert second.tip() == tip
            assert two.place.on_disk() == two.place.in_git()
        two.place.fsck()


def test_in_the_first_upload(tmp_path: Path, store: MemoryBlobStore) -> None:
    one, places = new_machine(tmp_path, "first", store), Places(tmp_path, store)

    def arrange() -> None:
        for blob in [*store.list("")]:
            store.delete(blob.key)
        places.fresh(one)
        alone = one.place.open()
        put(alone, "contexts/a/before")
        alone.close()

    for _ in killed_starts(one, arrange):
        with one.opened() as workspace:
            assert pointer(store)["tip"] == workspace.tip()
            assert workspace.view().read("contexts/a/before") == b"x"
        one.place.fsck()


def test_in_a_join(tmp_path: Path, store: MemoryBlobStore, one: Machine) -> None:
    two, places, numbers = new_machine(tmp_path, "two", store), Places(tmp_path, store), [0]

    def arrange() -> None:
        numbers[0] += 1
        places.fresh(two)
        with two.opened():
            pass
        alone = two.place.open()
        put(alone, f"contexts/ours/{numbers[0]}")
        alone.close()
        with one.opened() as first:
            put(first, f"contexts/theirs/{numbers[0]}")

    for _ in killed_starts(two, arrange):
        with two.opened() as second, one.opened() as first:
            assert first.tip() == second.tip() == pointer(store)["tip"]
            for side in ("ours", "theirs"):
                assert first.view().find_bytes(f"contexts/{side}/{numbers[0]}") == b"x"
        two.place.fsck()
    clone_with_stock_git(one.place, store)
