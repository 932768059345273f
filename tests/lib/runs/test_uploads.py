"""Uploads: announced, sent, checked; kept while a run uses them, swept otherwise."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lib.errors import Invalid, PayloadTooLarge
from lib.runs import state
from lib.runs.uploads import LIFETIME, Receiver
from lib.storage.memory import MemoryRunStore
from lib.storage.ports import Creation, StoreUnavailable, UploadNotFound
from lib.storage.records import RunChange, RunQuery
from lib.storage.stored import Stored
from tests.lib.runs.world import World


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def test_an_upload_is_announced_for_a_day(world: World) -> None:
    upload = world.announce(b"abc", "a.csv", media_type="text/csv")
    assert upload.id.startswith("upl_")
    assert upload.expires_at - upload.created_at == LIFETIME
    assert (upload.name, upload.size, upload.created_by) == ("a.csv", 3, "ada")
    assert (upload.received_at, upload.used_at) == (None, None)
    assert world.uploads.get(upload.id) == upload
    assert world.blob_keys() == set()


def test_the_announced_bytes_are_kept_by_their_hash(world: World) -> None:
    upload = world.announce(b"abcdef")
    world.clock.advance(seconds=5)
    with world.uploads.receive(upload) as receiver:
        for chunk in (b"ab", b"", b"cdef"):
            receiver.write(chunk)
        received = world.uploads.keep(receiver)
    assert received.received_at == world.clock.now()
    assert world.content.get(upload.sha256) == b"abcdef"
    assert left_in(world.root / "unfinished") == []


def test_an_upload_may_be_empty(world: World) -> None:
    assert world.upload(b"").received_at is not None
    assert world.blob_keys() == {hashlib.sha256(b"").hexdigest()}


@pytest.mark.parametrize(
    ("data", "pointers"),
    [(b"abd", ["/sha256"]), (b"ab", ["/size", "/sha256"]), (b"", ["/size", "/sha256"])],
)
def test_other_bytes_are_refused_and_not_kept(
    world: World, data: bytes, pointers: list[str]
) -> None:
    upload = world.announce(b"abc")
    with world.uploads.receive(upload) as receiver:
        receiver.write(data)
        with pytest.raises(Invalid) as caught:
            world.uploads.keep(receiver)
    assert [error.pointer for error in caught.value.errors] == pointers
    assert world.uploads.get(upload.id).received_at is None
    assert world.blob_keys() == set()
    assert left_in(world.root / "unfinished") == []


def test_more_bytes_than_announced_are_refused_at_once(world: World) -> None:
    with world.uploads.receive(world.announce(b"abc")) as receiver:
        receiver.write(b"ab")
        with pytest.raises(PayloadTooLarge, match="3 bytes"):
            receiver.write(b"cd")


def test_a_refused_upload_may_be_sent_again(world: World) -> None:
    upload = world.announce(b"abc")
    with world.uploads.receive(upload) as receiver, pytest.raises(Invalid):
        world.uploads.keep(receiver)
    with world.uploads.receive(upload) as receiver:
        receiver.write(b"abc")
        assert world.uploads.keep(receiver).received_at is not None


def test_a_connection_that_breaks_leaves_nothing(world: World) -> None:
    def broken(receiver: Receiver) -> None:
        receiver.write(b"ab")
        raise ConnectionError

    upload = world.announce(b"abc")
    with pytest.raises(ConnectionError), world.uploads.receive(upload) as receiver:
        broken(receiver)
    assert left_in(world.root / "unfinished") == []


def test_a_full_disk_is_told_as_such(world: World) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StoreUnavailable, match="No space left"),
    ):
        Receiver(world.announce(b"abc"), full).write(b"abc")


def test_a_folder_that_cannot_be_used_is_told_as_such(world: World) -> None:
    (world.root / "unfinished").write_text("a file")
    with pytest.raises(StoreUnavailable), world.uploads.receive(world.announce(b"abc")):
        pytest.fail("there is nowhere to write")


def test_an_unused_upload_expires_after_a_day_and_is_swept(world: World) -> None:
    upload = world.upload()
    world.clock.advance(hours=24, milliseconds=-1)
    assert world.uploads.get(upload.id) == upload
    world.clock.advance(milliseconds=1)
    with pytest.raises(UploadNotFound, match="expired"):
        world.uploads.get(upload.id)
    world.retention(days=0).sweep()
    with pytest.raises(UploadNotFound):
        world.upload_store.get(upload.id)
    assert world.blob_keys() == set()


def test_a_used_upload_outlives_its_day(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: data, kind: file}]}\n")
    upload = world.upload()
    run = world.start(data=upload.id)
    world.clock.advance(hours=25)
    world.retention().sweep()
    assert world.uploads.get(upload.id).used_at == run.created_at
    assert upload.sha256 in world.blob_keys()


def test_a_used_upload_goes_with_the_last_run_that_names_it(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: a, kind: file}, {name: b, kind: file}]}\n")
    upload = world.upload()
    first = world.claimed(a=upload.id, b=upload.id)
    world.settle(first, state.Completed(first.fence, Stored(2, text="{}")))
    world.clock.advance(days=50)
    replayed = world.lifecycle().replay(first.id, latest=False, by="ada")
    world.clock.advance(days=50)
    assert world.retention().sweep() == 1
    assert world.uploads.get(upload.id).used_at == first.created_at
    assert world.blob_keys() == {upload.sha256}

    world.lifecycle().cancel(replayed.id)
    world.clock.advance(days=91)
    assert world.retention().sweep() == 1
    with pytest.raises(UploadNotFound):
        world.uploads.get(upload.id)
    assert world.blob_keys() == set()


def test_an_upload_that_goes_between_check_and_start_is_told_as_by_the_check(
    world: World,
) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: data, kind: file}]}\n")
    upload = world.upload()

    class SlowStore(MemoryRunStore):
        def create(self, change: RunChange, **options: Any) -> Creation:
            world.clock.advance(hours=24)
            world.retention().sweep()
            return super().create(change, **options)

    world.runs = SlowStore(world.references, world.upload_store)
    with pytest.raises(Invalid) as caught:
        world.start(data=upload.id)
    assert [error.pointer for error in caught.value.errors] == ["/inputs/data"]
    assert "does not exist" in caught.value.errors[0].detail
    assert world.runs.list(RunQuery(), limit=9).rows == ()


def test_two_uploads_of_the_same_bytes_do_not_take_them_from_each_other(world: World) -> None:
    world.upload()
    world.clock.advance(hours=12)
    other = world.upload()
    world.clock.advance(hours=13)
    world.retention().sweep()
    assert world.uploads.get(other.id) == other
    assert world.blob_keys() == {other.sha256}


def test_what_was_never_announced_is_not_found(world: World) -> None:
    with pytest.raises(UploadNotFound):
        world.uploads.get(world.ids.new("upl"))


EXPECTED = [
    ({"received": False}, "not sent yet"),
    ({"hours": 24}, "expired"),
    ({"name": "data.txt", "media_type": "text/plain"}, r"must be one of \.csv, application/\*"),
    ({"data": b"x" * 2_000_000}, "larger than 1 MiB"),
    ({"data": b"name;sum\n"}, "no column sum"),
]


@pytest.mark.parametrize(("how", "message"), EXPECTED)
def test_a_run_takes_only_an_upload_that_fits(
    world: World, how: dict[str, object], message: str
) -> None:
    world.add_worker(
        manifest="exec: {inputs: [{name: data, kind: file, type: csv, max_size_mb: 1, "
        "accepts: [.csv, application/*], columns: [sum]}]}\n"
    )
    data = how.get("data", b"name,sum\n")
    assert isinstance(data, bytes)
    fields = {key: how[key] for key in ("name", "media_type") if key in how}
    make = world.upload if how.get("received", True) else world.announce
    upload = make(data, **fields)  # type: ignore[arg-type]
    world.clock.advance(hours=how.get("hours", 0))  # type: ignore[arg-type]
    with pytest.raises(Invalid) as caught:
        world.start(data=upload.id)
    assert [error.pointer for error in caught.value.errors] == ["/inputs/data"]
    assert caught.value.errors[0].detail.startswith(("names", "must", "is", "has"))
    with pytest.raises(Invalid, match=message):
        world.start(data=upload.id)
    assert world.upload_store.get(upload.id).used_at is None
