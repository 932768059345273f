"""FileBlobStore: what a folder adds to the contract."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.storage.files import STALE_SECONDS, FileBlobStore
from lib.storage.keys import BadBlobKey
from lib.storage.ports import BlobNotFound, PreconditionFailed, PutInDoubt, StoreUnavailable

ROOT = Path(__file__).parents[3]

ADD_ONE_20_TIMES = """
import sys
from pathlib import Path
from lib.storage.files import FileBlobStore
from lib.storage.ports import PreconditionFailed
blobs, added = FileBlobStore(Path(sys.argv[1])), 0
while added < 20:
    known = blobs.find("n")
    try:
        blobs.put("n", str(int(blobs.get("n")) + 1).encode(), if_match=known.etag)
        added += 1
    except PreconditionFailed:
        pass
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> FileBlobStore:
    return FileBlobStore(root)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let the kernel refuse bytes beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class NoFileFromNowOn(ManualClock):
    """Asked for the time while `is_on`, it lets the kernel refuse to open any other file."""

    is_on = False

    def now(self) -> datetime:
        if self.is_on:
            descriptor = os.dup(0)  # the lowest that is free
            os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor, self.hard))
        return super().now()

    @contextmanager
    def on(self) -> Iterator[None]:
        soft, self.hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, self.hard))


def test_a_key_is_a_path_below_the_root(blobs: FileBlobStore, root: Path) -> None:
    blobs.put("a/b/c.txt", b"one")

    assert (root / "a/b/c.txt").read_bytes() == b"one"


def test_no_update_is_lost_between_processes(blobs: FileBlobStore, root: Path) -> None:
    blobs.put("n", b"0")
    command = [sys.executable, "-c", ADD_ONE_20_TIMES, str(root)]
    children = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]

    assert [child.wait(60) for child in children] == [0] * 4
    assert blobs.get("n") == b"80"


def test_a_full_disk_leaves_what_was_there(blobs: FileBlobStore) -> None:
    blobs.put("a", b"one")

    with no_file_above(100_000), pytest.raises(StoreUnavailable):
        blobs.put("a", b"x" * 3_000_000)

    assert blobs.get("a") == b"one"
    assert [blob.key for blob in blobs.list("")] == ["a"]
    blobs.put("a", b"two")


def test_what_was_renamed_and_could_not_be_forced_to_disk_is_in_doubt(root: Path) -> None:
    """The folder cannot be opened after the rename: the blob is there."""
    clock = NoFileFromNowOn()
    blobs = FileBlobStore(root, clock=clock)
    first = blobs.put("a", b"one")

    with clock.on(), pytest.raises(PutInDoubt):
        blobs.put("a", b"two", if_match=first.etag)

    assert blobs.get("a") == b"two"
    with pytest.raises(PreconditionFailed):
        blobs.put("a", b"two", if_match=first.etag)


def test_nothing_unfinished_stays(blobs: FileBlobStore, root: Path) -> None:
    blobs.put("a", b"one")
    with no_file_above(10), pytest.raises(StoreUnavailable):
        blobs.put("a", b"x" * 100)

    assert list((root / ".unfinished").iterdir()) == []


def test_what_a_killed_put_left_goes_after_a_day(blobs: FileBlobStore, root: Path) -> None:
    blobs.put("a", b"one")
    old, young = root / ".unfinished/old", root / ".unfinished/young"
    for path in (old, young):
        path.write_bytes(b"half")
    then = time.time() - STALE_SECONDS - 1
    os.utime(old, (then, then))

    again = FileBlobStore(root)

    assert not old.exists()
    assert young.exists()
    assert [blob.key for blob in again.list("")] == ["a"]


def test_an_etag_outlives_the_store(blobs: FileBlobStore, root: Path) -> None:
    put = blobs.put("a", b"one")

    assert FileBlobStore(root).put("a", b"two", if_match=put.etag).etag != put.etag


def test_a_clock_that_goes_back_makes_no_etag_twice(root: Path) -> None:
    later = FileBlobStore(root)
    first = later.put("a", b"1")

    earlier = FileBlobStore(root, clock=ManualClock())

    assert earlier.put("a", b"2").etag != first.etag
    assert earlier.put("a", b"3").etag != first.etag


def test_a_put_is_newer_than_what_it_replaces_whatever_the_clock_says(root: Path) -> None:
    times = []
    for start in (datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)):
        FileBlobStore(root, clock=ManualClock(start)).put("a", b"1")
        times.append((root / "a").stat().st_mtime_ns)

    assert times[0] < times[1]


def test_a_key_below_a_blob_is_refused(blobs: FileBlobStore) -> None:
    blobs.put("a", b"one")
    blobs.put("b/c", b"one")

    with pytest.raises(BadBlobKey):
        blobs.put("a/b", b"two")
    with pytest.raises(BadBlobKey):
        blobs.put("b", b"two")
    for key in ("a/b", "b"):
        assert blobs.find(key) is None
        with pytest.raises(BlobNotFound):
            blobs.get(key)


def test_a_folder_that_cannot_be_used_is_told(root: Path) -> None:
    blobs = FileBlobStore(root)
    (root / "a").symlink_to(root / "a")  # a loop: the kernel gives up

    with pytest.raises(StoreUnavailable):
        blobs.get("a")
