"""Bundles are in the store before anybody may name them."""

from __future__ import annotations

import pytest

from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import PreconditionFailed
from lib.workspace.bundle_sync.bundle_file import Bundle
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.bundle_sync.errors import BundleStoreUnavailable
from lib.workspace.bundle_sync.pointer import Base, Pointer, Signature
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore

BUNDLE = Bundle("a" * 40, "b" * 40, b"PACK")
BUSY = "another put is on its way"  # what S3 answers with 409


def depot(real: MemoryBlobStore, *faults: str | None) -> Depot:
    """A depot whose puts have these faults, in order, and none after them."""
    left = iter(faults)

    def choose(method: str, _key: str) -> str | None:
        fault = next(left, None) if method == "put" else None
        if fault == BUSY:
            raise PreconditionFailed(BUSY)
        return fault

    return Depot(FaultyStore(real, choose), "ws/")


@pytest.mark.parametrize(
    "faults",
    [(), ("lost before",), ("lost after",), ("late",), ("lost before", BUSY), ("lost after", BUSY)],
)
def test_a_bundle_that_is_said_to_be_stored_is(faults: tuple[str, ...]) -> None:
    real = MemoryBlobStore()
    stored = depot(real, *faults).put_increment(BUNDLE, level=0, seq=7)
    assert real.get(f"ws/{stored.key}") == BUNDLE.encode()


def test_a_put_that_is_on_its_way_for_long_is_not_stored() -> None:
    real = MemoryBlobStore()
    with pytest.raises(BundleStoreUnavailable, match="could not be stored"):
        depot(real, "lost before", *[BUSY] * 9).put_increment(BUNDLE, level=0, seq=7)
    assert [*real.list("")] == []


def test_a_pointer_that_nobody_could_read_is_not_put() -> None:
    real = MemoryBlobStore()
    increments = [(0, seq, "b" * 40, "0" * 12, 1, "0" * 64) for seq in range(2, 2_500)]
    base = Base(
        key="bundles/1-000000000000.bundle", seq=1, tip="a" * 40, size=1, sha256="0" * 64,
        idx_size=1, idx_sha256="0" * 64,
    )  # fmt: skip
    first = Pointer.first(base, Signature("us", "2026-01-01T00:00:00.000Z"))
    long = first.model_copy(update={"increments": tuple(increments)})
    with pytest.raises(BundleStoreUnavailable, match="wait to be folded"):
        Depot(real, "ws/").put_pointer(long, instead_of=None)
    assert [*real.list("")] == []


def test_a_base_is_stored_with_its_index() -> None:
    real = MemoryBlobStore()
    base = depot(real, "lost before", BUSY, None, "lost before", BUSY).put_base(
        BUNDLE, b"index", seq=7
    )
    assert real.get(f"ws/{base.key}") == BUNDLE.encode()
    assert real.get(f"ws/{base.index_key}") == b"index"
