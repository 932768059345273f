"""ContentStore: bytes once, by what they are."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.storage.content import ContentStore
from lib.storage.memory import MemoryBlobStore
from lib.storage.ports import BlobNotFound, StoreUnavailable
from lib.storage.records import MAX_INLINE_BYTES, Stored
from tests.contract.threads import together


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def blobs(clock: ManualClock) -> MemoryBlobStore:
    return MemoryBlobStore(clock)


@pytest.fixture
def content(blobs: MemoryBlobStore) -> ContentStore:
    return ContentStore(blobs)


@pytest.mark.parametrize("size", [0, 1, 3_000_000, 9_000_000])
def test_bytes_and_streams_get_the_same_name(content: ContentStore, size: int) -> None:
    data = b"x" * size
    name = (hashlib.sha256(data).hexdigest(), size)

    assert content.put_stream(io.BytesIO(data)) == name
    assert content.put_bytes(data) == name
    with content.open(name[0]) as blob:
        assert blob.read() == data


def test_no_room_for_a_copy_is_told_as_a_store_that_is_down(
    blobs: MemoryBlobStore, tmp_path: Path
) -> None:
    content = ContentStore(blobs, scratch=str(tmp_path / "gone"))
    with pytest.raises(StoreUnavailable):
        content.put_stream(io.BytesIO(b"x" * 9_000_000))


def test_the_name_is_the_key(content: ContentStore, blobs: MemoryBlobStore) -> None:
    sha256, _ = content.put_bytes(b"one")

    assert [blob.key for blob in blobs.list("")] == [f"sha256/{sha256[:2]}/{sha256}"]


def test_content_put_again_is_new_again(
    content: ContentStore, blobs: MemoryBlobStore, clock: ManualClock
) -> None:
    """A sweep that was about to delete it lets it be."""
    sha256, _ = content.put_bytes(b"one")
    cutoff = clock.advance(seconds=1)
    content.put_stream(io.BytesIO(b"one"))

    blobs.delete(f"sha256/{sha256[:2]}/{sha256}", unless_put_after=cutoff)

    assert content.get(sha256) == b"one"


def test_many_that_put_the_same_all_succeed(content: ContentStore) -> None:
    assert len({str(it) for it in together(lambda _: content.put_bytes(b"one"))}) == 1


def test_unknown_content_is_not_found(content: ContentStore) -> None:
    with pytest.raises(BlobNotFound):
        content.open("0" * 64)


@pytest.mark.parametrize(
    ("characters", "inline"),
    [(0, True), (MAX_INLINE_BYTES - 2, True), (MAX_INLINE_BYTES - 1, False)],
)
def test_json_above_16_kib_is_a_blob(content: ContentStore, characters: int, inline: bool) -> None:
    text = json.dumps("x" * characters)

    stored = content.store_json(text)

    assert (stored.text is not None, stored.sha256 is None) == (inline, inline)
    assert stored.size == len(text)
    assert content.load_json(stored) == text


def test_size_is_counted_in_bytes(content: ContentStore) -> None:
    text = json.dumps("ü" * (MAX_INLINE_BYTES // 2), ensure_ascii=False)

    stored = content.store_json(text)

    assert stored.text is None
    assert stored.size == len(text.encode())
    assert content.load_json(stored) == text


def test_an_inline_value_needs_no_blob(content: ContentStore, blobs: MemoryBlobStore) -> None:
    assert content.store_json("{}") == Stored(2, text="{}")
    assert list(blobs.list("")) == []
