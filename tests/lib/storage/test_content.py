"""ContentStore: bytes once, by what they are."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.clock import ManualClock
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.content_sealer import ContentSealer
from lib.secrets.keys import KEY_BYTES, Key
from lib.storage.content import ContentStore
from lib.storage.keys import content_key
from lib.storage.memory import MemoryBlobStore
from lib.storage.ports import BlobNotFound, StoreUnavailable
from lib.storage.stored import MAX_INLINE_BYTES, Stored, StoredBytes
from tests.contract.threads import together

SEALER = ContentSealer(Key(bytes(range(KEY_BYTES))), workspace_id="default")


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


@pytest.mark.parametrize("size", [0, 1, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, 9_000_000])
@pytest.mark.parametrize("room", [0, 1, 100, MAX_INLINE_BYTES, 10_000_000])
def test_few_bytes_are_kept_in_the_value_where_it_has_room(
    content: ContentStore, size: int, room: int
) -> None:
    data = b"x" * size

    value = content.store_stream(Trickle(data), room_bytes=room)

    is_inline = size <= min(room, MAX_INLINE_BYTES)
    assert value == StoredBytes(hashlib.sha256(data).hexdigest(), size, data if is_inline else None)
    assert [*content.list()] == ([] if is_inline else [value.sha256])
    with content.open_stored(value) as file:
        assert file.read() == data
        file.seek(0)
        assert file.read(1) == data[:1]


class Trickle(io.BytesIO):
    """A stream whose reads give fewer bytes than there are."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return half of what is asked for."""
        return super().read(size if size is None or size < 2 else size // 2)


@pytest.mark.parametrize("room", [0, MAX_INLINE_BYTES])
def test_a_stream_that_cannot_be_read_is_told_as_a_store_that_is_down(
    content: ContentStore, room: int
) -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(StoreUnavailable):
        content.store_stream(Broken(), room_bytes=room)


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


@pytest.fixture
def sealed(blobs: MemoryBlobStore) -> ContentStore:
    return ContentStore(blobs, sealer=SEALER)


# A box has 28 bytes more than its text, and base64 makes 4 characters of 3 bytes.
LARGEST_INLINE: Final = MAX_INLINE_BYTES // 4 * 3 - 28


@given(size=st.integers(0, 3 * MAX_INLINE_BYTES), character=st.sampled_from('aé\N{KEY}"\0'))
@example(size=LARGEST_INLINE, character="a")
@example(size=LARGEST_INLINE + 1, character="a")
def test_a_sealed_value_opens_again_and_shows_nothing(size: int, character: str) -> None:
    blobs = MemoryBlobStore(ManualClock())
    content = ContentStore(blobs, sealer=SEALER)
    text = character * size

    stored = content.store_json(text, sealed=True)

    assert (stored.size, stored.key_id) == (len(text.encode()), SEALER.key_id)
    assert (stored.text is None) == (stored.sha256 is not None) == (stored.size > LARGEST_INLINE)
    assert len(stored.text or "") <= MAX_INLINE_BYTES
    assert content.load_json(stored) == text
    kept = (stored.text or "").encode() + b"".join(blobs.get(each.key) for each in blobs.list(""))
    assert size < 8 or text.encode() not in kept


@given(text=st.text(st.characters(codec="utf-8"), max_size=200))
def test_a_sealed_value_is_another_each_time(text: str) -> None:
    content = ContentStore(MemoryBlobStore(ManualClock()), sealer=SEALER)
    assert content.store_json(text, sealed=True) != content.store_json(text, sealed=True)


@pytest.mark.parametrize("size", [10, 3 * MAX_INLINE_BYTES])
def test_damage_says_what_to_do_and_spares_the_others(
    sealed: ContentStore, blobs: MemoryBlobStore, size: int
) -> None:
    good, bad = (sealed.store_json(each * size, sealed=True) for each in "gb")
    if bad.sha256 is None:
        bad = replace(bad, text=f"AAAA{(bad.text or '')[4:]}")
    else:
        key = content_key(bad.sha256)
        blobs.put(key, b"x" + blobs.get(key)[1:])

    with pytest.raises(SecretUnreadable, match="Restore the data folder"):
        sealed.load_json(bad)
    assert sealed.load_json(good) == "g" * size


@pytest.mark.parametrize("text", [None, "", "AAA", "no base64 \N{KEY}", "AAAA====", "A" * 40])
def test_text_that_is_no_box_is_damage(sealed: ContentStore, text: str | None) -> None:
    with pytest.raises(SecretUnreadable):
        sealed.load_json(Stored(2, text=text, key_id=SEALER.key_id))


def test_plain_values_open_with_and_without_a_key(
    content: ContentStore, sealed: ContentStore
) -> None:
    for text in ("{}", "x" * 2 * MAX_INLINE_BYTES):
        stored = content.store_json(text)
        assert stored.key_id is None
        assert sealed.load_json(stored) == text
        assert sealed.store_json(text) == stored


def test_nothing_is_kept_open_for_want_of_a_sealer(
    content: ContentStore, blobs: MemoryBlobStore
) -> None:
    with pytest.raises(RuntimeError, match="without a sealer"):
        content.store_json("x" * 2 * MAX_INLINE_BYTES, sealed=True)
    assert list(blobs.list("")) == []
