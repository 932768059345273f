"""What is known of a pointer after an answer that did not come."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import PreconditionFailed, StoreUnavailable
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.moves import PointerMoves
from lib.workspace.bundle_sync.pointer import Base, Increment, Pointer, Signature
from lib.workspace.errors import CommitInDoubt
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore

BY = Signature("us", "2026-01-01T00:00:00.000Z")
THEY = Signature("they", "2026-01-01T00:00:00.000Z")
OURS, THEIRS = "a" * 40, "b" * 40


class Store:
    """A store with one pointer, and faults in the order given."""

    def __init__(self, *faults: str | None) -> None:
        self.real = MemoryBlobStore()
        self.depot = Depot(self.real, "ws/")
        base = Base(
            key="bundles/1-000000000000.bundle", seq=1, tip="0" * 40, size=1, sha256="0" * 64,
            idx_size=1, idx_sha256="0" * 64,
        )  # fmt: skip
        self.first = self.depot.put_pointer(Pointer.first(base, BY), instead_of=None)
        self.faults: Iterator[str | None] = iter(faults)
        self.moves = PointerMoves(Depot(self.faulty(), "ws/"), wait=lambda _: None)

    def faulty(self) -> FaultyStore:
        return FaultyStore(self.real, self._choose)

    def move(self, old: Known | None = None) -> Known | None:
        new = published(self.first.pointer, OURS, BY)
        return self.moves.move(
            old or self.first, new, is_in=lambda now: now.pointer.has_published(OURS)
        )

    def _choose(self, method: str, _key: str) -> str | None:
        fault = next(self.faults, None)
        if fault == "refused":
            assert method == "put"
            raise PreconditionFailed("Another put is on its way.")
        return fault

    def tip(self) -> str:
        now = self.depot.read_pointer()
        assert now is not None
        return now.pointer.tip


def published(pointer: Pointer, tip: str, by: Signature) -> Pointer:
    return pointer.published(Increment(0, pointer.seq + 1, tip, "0" * 12, 1, "0" * 64), by)


@pytest.mark.parametrize(
    "faults",
    [(), ("lost before",), ("lost after",), ("late",), ("lost before", "lost after"),
     ("lost after", "lost before"), ("late", "late", "down"), ("lost after", "down", "down"),
     ("lost before", "refused"), ("lost before", "refused", None, "refused"), ("late", "refused")],
)  # fmt: skip
def test_a_doubt_is_settled_as_ours(faults: tuple[str | None, ...]) -> None:
    store = Store(*faults)
    moved = store.move()
    assert moved is not None
    assert moved.pointer.tip == OURS == store.tip()
    assert store.depot.read_pointer(unless_etag=moved.etag) is None


def test_others_built_on_ours_before_we_asked_again() -> None:
    store = Store("lost after")

    def meanwhile(_: float) -> None:
        now = store.depot.read_pointer()
        assert now is not None
        store.depot.put_pointer(published(now.pointer, THEIRS, THEY), instead_of=now)

    store.moves = PointerMoves(Depot(store.faulty(), "ws/"), wait=meanwhile)
    moved = store.move()
    assert moved is not None
    assert moved.pointer.tip == THEIRS


@pytest.mark.parametrize("fault", [None, "lost before", "lost after", "late"])
def test_another_came_first(fault: str | None) -> None:
    store = Store(fault)
    store.depot.put_pointer(published(store.first.pointer, THEIRS, THEY), instead_of=store.first)
    assert store.move() is None
    assert store.tip() == THEIRS


def test_a_store_that_is_down_before_the_first_try_is_no_doubt() -> None:
    store = Store("down")
    with pytest.raises(StoreUnavailable):
        store.move()
    assert store.tip() == "0" * 40


@pytest.mark.parametrize("first", ["lost before", "lost after", "late"])
def test_what_cannot_be_found_out_is_said(first: str) -> None:
    store = Store()
    store.faults = chain([first], repeat("down"))
    store.moves = PointerMoves(
        Depot(store.faulty(), "ws/"),
        wait=lambda _: None,
        doubt_seconds=0.05,
    )
    with pytest.raises(CommitInDoubt, match="may have been made"):
        store.move()


def test_a_doubt_whose_pointer_cannot_be_read_stays_one() -> None:
    store = Store("lost after", None, "down")
    with pytest.raises(CommitInDoubt):
        store.move()
