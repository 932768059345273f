"""BlobStore."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.storage.keys import BadBlobKey
from lib.storage.ports import (
    Blob,
    BlobInfo,
    BlobNotFound,
    BlobStore,
    BlobTooLarge,
    PreconditionFailed,
)
from tests.contract.blob_backends import KINDS, ON_LOOPBACK, OpenBlobs, opener
from tests.contract.samples import Samples
from tests.contract.threads import MANY, together

KEY = "sha256/ab/abcd"


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def open_blobs(kind: str, request: pytest.FixtureRequest) -> OpenBlobs:
    return opener(kind, request)


@pytest.fixture
def blobs(open_blobs: OpenBlobs, samples: Samples) -> Iterator[BlobStore]:
    with open_blobs(samples.clock) as store:
        yield store


@pytest.fixture
def sorts_by_key(kind: str) -> None:
    if kind == "seaweedfs":
        pytest.skip("SeaweedFS sorts by folder: a/b/c before a/b-c")


class TestPut:
    def test_what_is_put_is_read_back(self, blobs: BlobStore) -> None:
        put = blobs.put(KEY, b"one")

        assert (put.key, put.size) == (KEY, 3)
        assert blobs.get(KEY) == b"one"
        assert blobs.find(KEY) == put

    def test_a_put_replaces(self, blobs: BlobStore) -> None:
        first = blobs.put(KEY, b"one")
        second = blobs.put(KEY, b"two")

        assert blobs.get(KEY) == b"two"
        assert second.etag != first.etag

    def test_a_stream_is_put_from_where_it_stands(self, blobs: BlobStore) -> None:
        stream = io.BytesIO(b"x" * 3_000_000)
        stream.seek(500_000)

        assert blobs.put(KEY, stream).size == 2_500_000
        assert blobs.get(KEY) == b"x" * 2_500_000

    def test_a_stream_that_breaks_leaves_what_was_there(self, blobs: BlobStore) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell() or size is None or size < 0:
                    raise ConnectionError("gone")
                return super().read(2)

        blobs.put(KEY, b"one")

        with pytest.raises(ConnectionError, match="gone"):
            blobs.put(KEY, Broken(b"twotwo"))

        assert blobs.get(KEY) == b"one"
        assert [blob.key for blob in blobs.list("")] == [KEY]

    def test_an_empty_blob_is_a_blob(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"")

        assert blobs.get(KEY) == b""
        assert blobs.find(KEY) is not None


class TestConditions:
    many = MANY
    writers = 8

    def test_if_absent(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"one", if_absent=True)

        with pytest.raises(PreconditionFailed):
            blobs.put(KEY, b"two", if_absent=True)
        assert blobs.get(KEY) == b"one"

    def test_if_match(self, blobs: BlobStore) -> None:
        first = blobs.put(KEY, b"one")
        second = blobs.put(KEY, b"two", if_match=first.etag)

        with pytest.raises(PreconditionFailed):
            blobs.put(KEY, b"three", if_match=first.etag)
        assert blobs.get(KEY) == b"two"
        assert blobs.find(KEY) == second

    def test_nothing_matches_what_is_not_there(self, blobs: BlobStore) -> None:
        first = blobs.put(KEY, b"one")
        blobs.delete(KEY)

        for etag in (first.etag, ""):
            with pytest.raises(PreconditionFailed):
                blobs.put(KEY, b"two", if_match=etag)
        assert blobs.find(KEY) is None

    def test_the_same_size_and_time_is_another_etag(
        self, blobs: BlobStore, samples: Samples
    ) -> None:
        """The test's clock stands still."""
        etags = [blobs.put(KEY, str(number).encode()).etag for number in range(10)]
        blobs.delete(KEY)
        etags.append(blobs.put(KEY, b"x").etag)

        assert len(set(etags)) == 11

    def test_of_many_that_put_if_absent_one_wins(self, blobs: BlobStore) -> None:
        results = together(
            lambda number: blobs.put(KEY, str(number).encode(), if_absent=True), self.many
        )

        winners = [number for number, it in enumerate(results) if isinstance(it, BlobInfo)]
        assert len(winners) == 1
        assert blobs.get(KEY) == str(winners[0]).encode()
        assert sum(isinstance(it, PreconditionFailed) for it in results) == self.many - 1

    def test_no_update_is_lost_among_many(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"0")

        def add_five(_: int) -> None:
            added = 0
            while added < 5:
                known = blobs.find(KEY)
                assert known is not None
                value = int(blobs.get(KEY))
                try:
                    blobs.put(KEY, str(value + 1).encode(), if_match=known.etag)
                    added += 1
                except PreconditionFailed:
                    continue

        results = together(add_five, self.writers)

        assert results == [None] * self.writers
        assert int(blobs.get(KEY)) == 5 * self.writers


class TestConditionsElsewhere(TestConditions):
    """What writers rely on most, on servers that others have made."""

    many = writers = 4  # in SeaweedFS those who wait for each other look again after a second

    @pytest.fixture(params=ON_LOOPBACK)
    def blobs(self, request: pytest.FixtureRequest, samples: Samples) -> Iterator[BlobStore]:
        with opener(request.param, request)(samples.clock) as store:
            yield store


class TestRead:
    def test_an_absent_blob(self, blobs: BlobStore) -> None:
        assert blobs.find(KEY) is None
        assert blobs.touch(KEY) is False
        blobs.delete(KEY)
        with pytest.raises(BlobNotFound):
            blobs.get(KEY)
        with pytest.raises(BlobNotFound):
            blobs.read(KEY)
        with pytest.raises(BlobNotFound):
            blobs.open(KEY)

    def test_a_blob_is_read_with_its_etag(self, blobs: BlobStore) -> None:
        put = blobs.put(KEY, b"one")

        blob = blobs.read(KEY)

        assert blob == Blob(KEY, 3, put.etag, b"one")
        assert blobs.put(KEY, b"two", if_match=put.etag).etag != put.etag

    def test_what_the_reader_has_is_not_read_again(self, blobs: BlobStore) -> None:
        first = blobs.put(KEY, b"one")
        assert blobs.read(KEY, unless_etag=first.etag) is None

        second = blobs.put(KEY, b"two")

        assert blobs.read(KEY, unless_etag=first.etag) == Blob(KEY, 3, second.etag, b"two")
        assert blobs.read(KEY, unless_etag=second.etag) is None

    @pytest.mark.parametrize("etag", ["", "x", '"x"', "*", "ä\n", "0-0-0"])
    def test_an_etag_that_no_blob_has_only_costs_the_reading(
        self, blobs: BlobStore, etag: str
    ) -> None:
        blobs.put(KEY, b"one")

        blob = blobs.read(KEY, unless_etag=etag)

        assert blob is not None
        assert blob.data == b"one"

    def test_a_read_of_what_is_gone_says_so(self, blobs: BlobStore) -> None:
        put = blobs.put(KEY, b"one")
        blobs.delete(KEY)

        for etag in (None, put.etag):
            with pytest.raises(BlobNotFound):
                blobs.read(KEY, unless_etag=etag)

    def test_no_more_than_the_limit_is_read(self, blobs: BlobStore) -> None:
        put = blobs.put(KEY, b"x" * 1000)

        whole = blobs.read(KEY, limit_bytes=1000)
        assert whole is not None
        assert whole.size == len(whole.data) == 1000
        for limit in (0, 999):
            with pytest.raises(BlobTooLarge, match=str(limit)):
                blobs.read(KEY, limit_bytes=limit)
            assert blobs.read(KEY, unless_etag=put.etag, limit_bytes=limit) is None

    def test_an_empty_blob_is_read_within_any_limit(self, blobs: BlobStore) -> None:
        put = blobs.put(KEY, b"")

        assert blobs.read(KEY, limit_bytes=0) == Blob(KEY, 0, put.etag, b"")

    def test_etag_and_bytes_belong_together_while_others_write(self, blobs: BlobStore) -> None:
        """Each put's bytes say which put it was."""
        known = {blobs.put(KEY, b"0").etag: b"0"}
        seen: list[Blob] = []

        def write_or_read(number: int) -> None:
            for turn in range(10):
                if number < 2:
                    data = f"{number}-{turn}".encode()
                    known[blobs.put(KEY, data).etag] = data
                else:
                    blob = blobs.read(KEY)
                    assert blob is not None
                    seen.append(blob)

        assert together(write_or_read, 4) == [None] * 4
        assert [blob.data for blob in seen] == [known[blob.etag] for blob in seen]

    def test_an_open_blob_can_be_sought(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"0123456789")

        with blobs.open(KEY) as blob:
            blob.seek(4)
            assert blob.read(3) == b"456"
            blob.seek(0, io.SEEK_END)
            assert blob.tell() == 10

    def test_an_open_blob_outlives_its_replacement(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"one")

        with blobs.open(KEY) as blob:
            blobs.put(KEY, b"two")
            assert blob.read() == b"one"


class TestDelete:
    def test_a_deleted_blob_is_gone(self, blobs: BlobStore) -> None:
        blobs.put(KEY, b"one")
        assert blobs.delete(KEY) is True
        assert blobs.delete(KEY) is False

        assert blobs.find(KEY) is None
        assert list(blobs.list("")) == []

    def test_what_is_older_than_the_cutoff_goes(self, blobs: BlobStore, samples: Samples) -> None:
        blobs.put(KEY, b"one")
        samples.clock.advance(milliseconds=1)

        blobs.delete(KEY, unless_put_after=samples.now)

        assert blobs.find(KEY) is None

    @pytest.mark.parametrize("how", ["put", "touch"])
    def test_what_was_put_or_touched_since_stays(
        self, blobs: BlobStore, samples: Samples, how: str
    ) -> None:
        blobs.put(KEY, b"one")
        samples.clock.advance(seconds=1)
        cutoff = samples.now
        if how == "put":
            blobs.put(KEY, b"one")
        else:
            assert blobs.touch(KEY) is True

        assert blobs.delete(KEY, unless_put_after=cutoff) is False
        assert blobs.get(KEY) == b"one"
        blobs.delete(KEY, unless_put_after=cutoff + timedelta(seconds=1))
        assert blobs.find(KEY) is None


@pytest.mark.usefixtures("sorts_by_key")
class TestList:
    def test_blobs_by_key_below_a_prefix(self, blobs: BlobStore) -> None:
        keys = ["a/b/c", "a/b-c", "a/b.c", "a-b", "a/bb/x", "b/a", "a/b/a", "a0"]
        for key in keys:
            blobs.put(key, key.encode())

        assert [blob.key for blob in blobs.list("")] == sorted(keys)
        assert [blob.key for blob in blobs.list("a/b")] == [
            "a/b-c",
            "a/b.c",
            "a/b/a",
            "a/b/c",
            "a/bb/x",
        ]
        assert [blob.key for blob in blobs.list("a/b/")] == ["a/b/a", "a/b/c"]
        assert list(blobs.list("zz/")) == []
        assert next(iter(blobs.list("b"))) == blobs.find("b/a")

    def test_a_list_goes_on_after_any_key(self, blobs: BlobStore) -> None:
        keys = ["a/b/c", "a/b-c", "a/b.c", "a-b", "a/bb/x", "b/a", "a/b/a", "a0"]
        for key in keys:
            blobs.put(key, key.encode())

        for after in [*keys, "a/b/", "a/b", "a", "a/b/b", "a/bb", "a/c", "z", "0"]:
            expected = sorted(key for key in keys if key > after)
            assert [blob.key for blob in blobs.list("", after=after)] == expected
            expected = [key for key in expected if key.startswith("a/b")]
            assert [blob.key for blob in blobs.list("a/b", after=after)] == expected


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/etc/passwd",
            "../up",
            "a/../../b",
            "a/..",
            ".",
            "a//b",
            "a/",
            ".hidden",
            "a/.locks/1",
            "-rf",
            "a b",
            "a\nb",
            "a\x00b",
            "a\\b",
            "ä",
            "a" * 300,
            "a/" * 600 + "a",
            "C:/x",
            "a\n",
        ],
    )
    def test_odd_keys_are_refused_by_every_method(self, blobs: BlobStore, key: str) -> None:
        for call in (
            lambda: blobs.put(key, b""),
            lambda: blobs.get(key),
            lambda: blobs.read(key),
            lambda: blobs.open(key),
            lambda: blobs.find(key),
            lambda: blobs.touch(key),
            lambda: blobs.delete(key),
        ):
            with pytest.raises(BadBlobKey):
                call()
        assert list(blobs.list("")) == []

    @pytest.mark.parametrize("prefix", ["/", "../", "a//", ".", "a/../"])
    def test_odd_prefixes_are_refused(self, blobs: BlobStore, prefix: str) -> None:
        with pytest.raises(BadBlobKey):
            list(blobs.list(prefix))


SEGMENT = st.text("abAB01_", min_size=1, max_size=3)


@pytest.mark.usefixtures("sorts_by_key")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.sets(st.tuples(SEGMENT, SEGMENT), max_size=6), prefix=st.text("abAB01_/", max_size=3)
)
def test_a_list_is_what_was_put(
    open_blobs: OpenBlobs, names: set[tuple[str, str]], prefix: str
) -> None:
    keys = {f"{folder}/{name}" for folder, name in names}
    with open_blobs(Samples().clock) as blobs:
        for key in keys:
            blobs.put(key, b"")
        try:
            listed = [blob.key for blob in blobs.list(prefix)]
        except BadBlobKey:
            return
    assert listed == sorted(key for key in keys if key.startswith(prefix))
