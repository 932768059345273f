"""What the store makes of each thing that can go wrong between it and S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import pytest

from lib.storage.ports import (
    BlobNotFound,
    BlobStore,
    PreconditionFailed,
    PutInDoubt,
    StoreUnavailable,
)
from lib.storage.s3 import S3BlobStore
from lib.storage.s3.requests import ATTEMPTS
from tests.contract.threads import together
from tests.kit.buckets import BUCKET, client_of, shared_client
from tests.kit.fault_proxy import Fault, FaultProxy, dice, script

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

KEY = "pointer.json"
NO_EFFECT = [Fault.SLOW_DOWN, Fault.CONFLICT]
UNCLEAR = {  # and whether it has its effect
    Fault.CLOSED_BEFORE: False,
    Fault.CLOSED_AFTER: True,
    Fault.ERROR_500: False,
    Fault.ERROR_500_AFTER: True,
    Fault.LATE: False,
}


@dataclass
class World:
    """A store behind the proxy, the same for who waits a second only, and as it is."""

    proxy: FaultProxy
    store: S3BlobStore
    impatient: S3BlobStore
    straight: BlobStore
    waits: list[float] = field(default_factory=list)

    def plan(self, *faults: Fault) -> None:
        self.proxy.plan = script(*faults)
        self.proxy.seen.clear()

    @property
    def requests(self) -> int:
        return len(self.proxy.seen)


@pytest.fixture(scope="module")
def proxy(moto_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_url, script()).running() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def clients(proxy: FaultProxy) -> list[S3Client]:
    return [client_of(proxy.url)(), client_of(proxy.url, read_seconds=1)()]


@pytest.fixture
def world(proxy: FaultProxy, moto_url: str, clients: list[S3Client]) -> Iterator[World]:
    prefix = secrets.token_hex(8)
    waits: list[float] = []

    def store(client: S3Client) -> S3BlobStore:
        return S3BlobStore(BUCKET, prefix, connect=lambda: client, wait=waits.append)

    patient, impatient = (store(client) for client in clients)
    world = World(proxy, patient, impatient, store(shared_client(moto_url)), waits)
    world.plan()
    yield world
    proxy.release()


class TestPut:
    @pytest.mark.parametrize("fault", [*NO_EFFECT, *UNCLEAR])
    def test_a_put_without_condition_is_sent_again(self, world: World, fault: Fault) -> None:
        world.plan(fault)

        world.store.put(KEY, b"one")

        assert world.straight.get(KEY) == b"one"
        assert world.requests == 2
        assert len(world.waits) == 1
        world.proxy.release()

    @pytest.mark.parametrize("fault", NO_EFFECT)
    def test_a_put_on_condition_is_sent_again_after_no_effect(
        self, world: World, fault: Fault
    ) -> None:
        world.plan(fault, Fault.NONE, fault)

        first = world.store.put(KEY, b"one", if_absent=True)
        world.store.put(KEY, b"two", if_match=first.etag)

        assert world.straight.get(KEY) == b"two"
        assert world.requests == 4

    @pytest.mark.parametrize(("fault", "has_effect"), UNCLEAR.items())
    def test_a_put_on_condition_is_in_doubt_and_sent_once(
        self, world: World, fault: Fault, has_effect: bool
    ) -> None:
        first = world.straight.put(KEY, b"one")
        world.plan(fault)

        with pytest.raises(PutInDoubt, match=KEY):
            world.store.put(KEY, b"two", if_match=first.etag)

        assert world.requests == 1
        assert world.straight.get(KEY) == (b"two" if has_effect else b"one")

    @pytest.mark.parametrize(("fault", "has_effect"), UNCLEAR.items())
    def test_the_same_put_again_clears_the_doubt(
        self, world: World, fault: Fault, has_effect: bool
    ) -> None:
        world.plan(fault)
        with pytest.raises(PutInDoubt):
            world.store.put(KEY, b"one", if_absent=True)

        if has_effect:
            with pytest.raises(PreconditionFailed):
                world.store.put(KEY, b"one", if_absent=True)
        else:
            world.store.put(KEY, b"one", if_absent=True)

        assert world.straight.get(KEY) == b"one"
        assert set(world.proxy.release()) <= {412}

    def test_refused_after_a_busy_answer_is_in_doubt(self, world: World) -> None:
        """A server that says it is busy may have begun: then the refusal is our own put."""
        first = world.straight.put(KEY, b"one")
        world.straight.put(KEY, b"two", if_match=first.etag)
        world.plan(Fault.SLOW_DOWN)

        with pytest.raises(PutInDoubt):
            world.store.put(KEY, b"three", if_match=first.etag)

    def test_refused_after_a_conflict_is_refused(self, world: World) -> None:
        first = world.straight.put(KEY, b"one")
        world.straight.put(KEY, b"two", if_match=first.etag)
        world.plan(Fault.CONFLICT)

        with pytest.raises(PreconditionFailed):
            world.store.put(KEY, b"three", if_match=first.etag)

    @pytest.mark.parametrize(
        ("fault", "on_condition", "error"),
        [
            (Fault.CONFLICT, True, PreconditionFailed),
            (Fault.CONFLICT, False, StoreUnavailable),
            (Fault.SLOW_DOWN, True, StoreUnavailable),
            (Fault.SLOW_DOWN, False, StoreUnavailable),
            (Fault.ERROR_500, False, PutInDoubt),
            (Fault.CLOSED_AFTER, False, PutInDoubt),
        ],
    )
    def test_what_does_not_end_is_given_up(
        self, world: World, fault: Fault, on_condition: bool, error: type[Exception]
    ) -> None:
        world.plan(*[fault] * ATTEMPTS)

        with pytest.raises(error) as raised:
            world.store.put(KEY, b"one", if_absent=on_condition)

        assert type(raised.value) is error
        assert world.requests == ATTEMPTS
        assert len(world.waits) == ATTEMPTS - 1
        assert world.waits == sorted(world.waits)
        assert sum(world.waits) < 3

    @pytest.mark.parametrize(
        ("fault", "has_effect"), [(Fault.SILENT_BEFORE, False), (Fault.SILENT_AFTER, True)]
    )
    def test_a_server_that_says_nothing_leaves_doubt(
        self, world: World, fault: Fault, has_effect: bool
    ) -> None:
        world.plan(fault)

        with pytest.raises(PutInDoubt, match="does not answer"):
            world.impatient.put(KEY, b"one", if_absent=True)

        assert (world.straight.find(KEY) is not None) is has_effect

    def test_an_effect_that_comes_late_replaces_nothing_newer(self, world: World) -> None:
        first = world.straight.put(KEY, b"one")
        world.plan(Fault.LATE)
        with pytest.raises(PutInDoubt):
            world.store.put(KEY, b"late", if_match=first.etag)
        world.straight.put(KEY, b"two", if_match=first.etag)

        assert world.proxy.release() == [412]

        assert world.straight.get(KEY) == b"two"

    def test_an_effect_that_comes_twice_counts_once(self, world: World) -> None:
        first = world.straight.put(KEY, b"one")
        world.plan(Fault.TWICE)
        second = world.store.put(KEY, b"two", if_match=first.etag)
        world.straight.put(KEY, b"three", if_match=second.etag)

        assert world.proxy.release() == [412]

        assert world.straight.get(KEY) == b"three"


class TestRead:
    @pytest.mark.parametrize("fault", [*NO_EFFECT, *UNCLEAR, Fault.TRUNCATED, Fault.CORRUPTED])
    def test_each_fault_costs_another_request(self, world: World, fault: Fault) -> None:
        data = secrets.token_bytes(1000)
        put = world.straight.put(KEY, data)

        for read in (world.store.get, world.store.read, world.store.find):
            is_head = read == world.store.find
            if is_head and fault in (Fault.TRUNCATED, Fault.CORRUPTED):
                continue  # no body to damage
            world.plan(fault)
            found = read(KEY)
            assert found in (data, put) or getattr(found, "data", None) == data
            assert world.requests == 2

    def test_a_server_that_says_nothing_is_asked_again(self, world: World) -> None:
        world.straight.put(KEY, b"one")
        world.plan(Fault.SILENT_BEFORE)

        assert world.impatient.get(KEY) == b"one"

    def test_what_is_known_is_not_read_even_after_a_fault(self, world: World) -> None:
        put = world.straight.put(KEY, b"one")
        world.plan(Fault.CLOSED_BEFORE)

        assert world.store.read(KEY, unless_etag=put.etag) is None

    @pytest.mark.parametrize(
        "fault", [Fault.CLOSED_BEFORE, Fault.ERROR_500, Fault.SLOW_DOWN, Fault.CORRUPTED]
    )
    def test_what_does_not_end_is_never_an_absent_blob(self, world: World, fault: Fault) -> None:
        world.straight.put(KEY, b"one")
        for read in (world.store.get, world.store.read):
            world.plan(*[fault] * ATTEMPTS)
            with pytest.raises(StoreUnavailable, match="cannot be used now"):
                read(KEY)

    def test_an_absent_blob_is_absent_after_a_fault_too(self, world: World) -> None:
        world.plan(Fault.ERROR_500)
        with pytest.raises(BlobNotFound):
            world.store.read(KEY)

    def test_bytes_that_were_damaged_before_they_were_stored(self, world: World) -> None:
        """The server of this test does not compare the signed hash; S3 does."""
        world.plan(Fault.CORRUPTED_SENT)
        world.store.put(KEY, b"one")

        with pytest.raises(StoreUnavailable, match="damaged"):
            world.store.get(KEY)

    @pytest.mark.parametrize("fault", [*NO_EFFECT, *UNCLEAR, Fault.TRUNCATED])
    def test_a_list(self, world: World, fault: Fault) -> None:
        for key in ("a", "b"):
            world.straight.put(key, b"")
        world.plan(fault)

        assert [blob.key for blob in world.store.list("")] == ["a", "b"]


@pytest.mark.parametrize("fault", [*NO_EFFECT, *UNCLEAR])
class TestChanges:
    def test_a_touch_is_sent_again(self, world: World, fault: Fault) -> None:
        world.straight.put(KEY, b"one")
        world.plan(Fault.NONE, fault)

        assert world.store.touch(KEY) is True

        assert world.straight.get(KEY) == b"one"

    def test_a_deletion_is_sent_again(self, world: World, fault: Fault) -> None:
        world.straight.put(KEY, b"one")
        world.plan(Fault.NONE, fault)

        assert world.store.delete(KEY) is True

        assert world.straight.find(KEY) is None


Result = TypeVar("Result")
FAULTS = {
    **dict.fromkeys(UNCLEAR, 0.05),
    **dict.fromkeys(NO_EFFECT, 0.05),
    Fault.TWICE: 0.05,
    Fault.TRUNCATED: 0.03,
    Fault.CORRUPTED: 0.03,
}


def _append(store: BlobStore, word: bytes) -> None:
    """Add a word to the blob by compare-and-set, as the port says to clear doubts."""
    while True:
        blob = _until_it_answers(lambda: store.read(KEY))
        assert blob is not None
        if word in blob.data.split():  # an effect that came after the doubt was cleared
            return
        if _replaced(store, blob.data + b" " + word, blob.etag):
            return


def _replaced(store: BlobStore, data: bytes, etag: str) -> bool:
    doubted = False
    while True:
        try:
            store.put(KEY, data, if_match=etag)
            return True
        except PutInDoubt:
            doubted = True
        except PreconditionFailed:
            if not doubted:
                return False
            blob = _until_it_answers(lambda: store.read(KEY))
            return blob is not None and data.split()[-1] in blob.data.split()
        except StoreUnavailable:
            continue


def _until_it_answers(call: Callable[[], Result]) -> Result:
    while True:
        try:
            return call()
        except StoreUnavailable:
            continue


def _check_that_nothing_is_lost(world: World, seed: int, writers: int, words: int) -> None:
    world.straight.put(KEY, b"start")
    world.plan()
    world.proxy.plan = dice(seed, FAULTS)

    def write(writer: int) -> None:
        for number in range(words):
            _append(world.store, f"{writer}-{number}".encode())
            if number % 2:
                world.proxy.release()

    assert together(write, writers) == [None] * writers
    world.proxy.release()
    written = world.straight.get(KEY).decode().split()
    assert sorted(written) == sorted(
        ["start", *(f"{writer}-{number}" for writer in range(writers) for number in range(words))]
    )


@pytest.mark.parametrize("seed", range(2))
def test_no_word_is_lost_or_written_twice_whatever_happens(world: World, seed: int) -> None:
    _check_that_nothing_is_lost(world, seed, writers=3, words=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 160))
def test_no_word_is_lost_or_written_twice_many_times(world: World, seed: int) -> None:
    _check_that_nothing_is_lost(world, seed, writers=4, words=25)
