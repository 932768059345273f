"""Machines let one another pass."""

from __future__ import annotations

import json

import pytest

from lib.clock import ManualClock
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore, StoreUnavailable
from lib.workspace.bundle_sync.courtesy import LOSSES, Courtesy
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.workspace import Put, TreeView
from tests.contract.fused import Fuse
from tests.lib.workspace.bundle_sync.machine import PREFIX, Machine, put
from tests.lib.workspace.place import ANNA


class Waits:
    """Counts the moments that somebody is given."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: float) -> None:
        self.count += 1


def courtesy(store: BlobStore, writer: str, waits: Waits) -> Courtesy:
    return Courtesy(Depot(store, PREFIX), writer, ManualClock(), wait=waits)


def note(store: BlobStore) -> dict[str, str] | None:
    if store.find(f"{PREFIX}WAIT.json") is None:
        return None
    found: dict[str, str] = json.loads(store.get(f"{PREFIX}WAIT.json"))
    return found


def never() -> bool:
    return False


def test_who_loses_twice_in_a_row_says_so() -> None:
    store = MemoryBlobStore()
    ours = courtesy(store, "us", Waits())
    for _ in range(LOSSES - 1):
        ours.lost()
    ours.won()
    for _ in range(LOSSES - 1):
        ours.lost()
    assert note(store) is None
    ours.lost()
    assert (note(store) or {})["writer"] == "us"


def test_a_new_note_of_another_is_answered_once() -> None:
    store, waits = MemoryBlobStore(), Waits()
    ours, theirs = courtesy(store, "us", waits), courtesy(store, "them", Waits())
    ours.look()
    for _ in range(LOSSES):
        theirs.lost()
    ours.let_pass(never)
    assert waits.count == 0  # it was not seen yet
    ours.look()
    ours.let_pass(never)
    assert waits.count > 0
    before = waits.count
    ours.look()
    ours.let_pass(never)
    assert waits.count == before


def test_it_ends_when_the_pointer_moves() -> None:
    store, waits = MemoryBlobStore(), Waits()
    ours, theirs = courtesy(store, "us", waits), courtesy(store, "them", Waits())
    ours.look()
    for _ in range(LOSSES):
        theirs.lost()
    ours.look()
    ours.let_pass(lambda: waits.count == 2)
    assert waits.count == 2


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"writer": "us"}', b"\xff" * 99])
def test_other_notes_are_no_reason_to_wait(data: bytes) -> None:
    store, waits = MemoryBlobStore(), Waits()
    ours = courtesy(store, "us", waits)
    ours.look()
    store.put(f"{PREFIX}WAIT.json", data)
    ours.look()
    ours.let_pass(never)
    assert waits.count == 0


def test_an_old_note_is_nobodys() -> None:
    store, waits = MemoryBlobStore(), Waits()
    for _ in range(LOSSES):
        courtesy(store, "gone", Waits()).lost()
    store.put(f"{PREFIX}WAIT.json", b'{"writer": "gone"}')
    ours = courtesy(store, "us", waits)
    ours.look()
    ours.let_pass(never)
    assert waits.count == 0


def test_a_store_that_is_down_hinders_nobody() -> None:
    class Down(Fuse):
        def step(self, name: str) -> None:
            raise StoreUnavailable("down")

    ours = courtesy(Down().protect(MemoryBlobStore()), "us", Waits())
    ours.look()
    for _ in range(LOSSES):
        ours.lost()
    ours.let_pass(never)


def test_a_machine_that_lost_comes_next(one: Machine, two: Machine, store: BlobStore) -> None:
    """One publishes whenever two has read the pointer; then it waits once, and two comes."""
    waits = Waits()
    one.wait = waits
    with one.opened() as first, two.opened() as second:
        put(first, "contexts/a/start")
        rounds = iter(range(LOSSES))

        def contested(_: TreeView) -> list[Put]:
            for number in rounds:  # one comes first each time that two has looked
                put(first, f"contexts/a/{number}")
                break
            return [Put("contexts/b/x", b"x")]

        second.commit(contested, "contested", ANNA)
        assert note(store)
        first.refresh()
        put(first, "contexts/a/sees")
        assert waits.count == 0
        put(first, "contexts/a/waits")
        assert waits.count > 0
