"""The sweep of blobs: in bounded steps, goes on where it stopped, spares the young."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.runs.blob_sweep import BLOB_GRACE, PAGE, BlobSweep
from lib.storage.content import ContentStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunChange, RunRecord
from lib.storage.stored import Stored
from tests.contract.fused import Fuse
from tests.contract.samples import Samples
from tests.contract.stores import Stores

MANY = 25


@pytest.fixture
def content(stores: Stores) -> ContentStore:
    return ContentStore(stores.blobs)


@pytest.fixture
def sweep(stores: Stores, content: ContentStore, samples: Samples) -> BlobSweep:
    return BlobSweep(content=content, references=stores.references, clock=samples.clock)


def put(content: ContentStore, count: int) -> list[str]:
    """Return the names of as many blobs, sorted."""
    return sorted(content.put_bytes(b"%d" % number)[0] for number in range(count))


def test_what_nobody_names_goes_when_it_is_older_than_the_grace(
    sweep: BlobSweep, content: ContentStore, samples: Samples
) -> None:
    put(content, 3)
    samples.clock.advance(milliseconds=BLOB_GRACE.total_seconds() * 1_000)
    assert sweep.sweep() == 0
    young = content.put_bytes(b"0")[0]
    samples.clock.advance(milliseconds=1)
    assert sweep.sweep() == 2
    assert [*content.list()] == [young]


def test_one_that_was_young_in_one_round_goes_in_a_later_one(
    sweep: BlobSweep, stores: Stores, content: ContentStore, samples: Samples
) -> None:
    """What a run released right after its put is not forgotten."""
    sha256, _ = content.put_bytes(b"one")
    change = samples.new(inputs=Stored(20_000, sha256=sha256))
    stores.runs.create(change)
    assert sweep.sweep() == 0
    samples.clock.advance(hours=2)
    assert sweep.sweep() == 0  # it is named
    content.put_bytes(b"one")
    stores.runs.change(change.run.id, lambda run: _without_inputs(run, samples))
    assert sweep.sweep() == 0  # it is young
    samples.clock.advance(hours=2)
    assert sweep.sweep() == 1


def _without_inputs(run: RunRecord, samples: Samples) -> RunChange:
    return RunChange(replace(run, inputs=samples.run().inputs))


def test_a_sweep_looks_at_so_many_and_the_next_goes_on_there(
    sweep: BlobSweep, stores: Stores, content: ContentStore, samples: Samples
) -> None:
    names = put(content, MANY)
    samples.clock.advance(hours=2)

    assert sweep.sweep(limit=10) == 10
    assert stores.references.swept_to() == names[9]
    after_restart = BlobSweep(content=content, references=stores.references, clock=samples.clock)
    assert after_restart.sweep(limit=10) == 10
    assert [*content.list()] == names[20:]
    assert after_restart.sweep(limit=10) == 5
    assert stores.references.swept_to() == ""
    content.put_bytes(b"0")
    samples.clock.advance(hours=2)
    assert after_restart.sweep(limit=10) == 1


def test_it_stops_between_pages_when_it_is_told_to(
    sweep: BlobSweep, content: ContentStore, samples: Samples
) -> None:
    put(content, PAGE + 1)
    samples.clock.advance(hours=2)
    assert sweep.sweep(should_stop=lambda: True) == PAGE
    assert sweep.sweep() == 1


def test_an_idle_store_is_not_written(
    stores: Stores, content: ContentStore, samples: Samples
) -> None:
    written: list[str] = []
    references = Fuse(between=written.append).protect(stores.references)
    sweep = BlobSweep(content=content, references=references, clock=samples.clock)
    sweep.sweep()
    assert "after find_unnamed" in written
    assert not any("mark_swept" in step for step in written)


def test_a_blob_that_cannot_be_deleted_does_not_keep_the_others(
    stores: Stores, samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    content = ContentStore(stores.blobs)
    put(content, 3)
    samples.clock.advance(hours=2)
    deletions: list[str] = []

    def stuck(step: str) -> None:
        deletions.extend([step] if step == "before delete" else [])
        if len(deletions) == 1:
            raise StoreUnavailable("The file is immutable.")

    blobs = Fuse(between=stuck).protect(stores.blobs)
    sweep = BlobSweep(
        content=ContentStore(blobs), references=stores.references, clock=samples.clock
    )
    assert sweep.sweep() == 2
    assert "blob_not_deleted" in caplog.text
    assert len([*content.list()]) == 1


def test_a_store_that_cannot_tell_ends_the_sweep_with_nothing_gone(
    stores: Stores, content: ContentStore, samples: Samples
) -> None:
    put(content, 3)
    samples.clock.advance(hours=2)

    def down(step: str) -> None:
        raise StoreUnavailable(step)

    sweep = BlobSweep(
        content=content,
        references=Fuse(between=down).protect(stores.references),
        clock=samples.clock,
    )
    with pytest.raises(StoreUnavailable):
        sweep.sweep()
    assert len([*content.list()]) == 3


def test_blobs_of_other_kinds_are_not_touched(
    sweep: BlobSweep, stores: Stores, samples: Samples
) -> None:
    others = ["bundles/base", f"sha25/{'1' * 64}", "sha256x/ab/cd"]
    others += ["sha256/ab/README", f"sha256/ab/{'0' * 64}", f"sha256/00/{'0' * 63}"]
    for key in others:
        stores.blobs.put(key, b"")
    samples.clock.advance(hours=2)
    assert sweep.sweep() == 0
    assert len([*stores.blobs.list("")]) == len(others)


def test_one_put_between_the_look_and_the_deletion_stays(
    stores: Stores, content: ContentStore, samples: Samples
) -> None:
    put(content, 2)
    samples.clock.advance(hours=2)

    def somebody(step: str) -> None:
        if step == "after find_unnamed":
            content.put_bytes(b"0")

    references = Fuse(between=somebody).protect(stores.references)
    sweep = BlobSweep(content=content, references=references, clock=samples.clock)
    assert sweep.sweep() == 1
    assert [*content.list()] == [content.put_bytes(b"0")[0]]
