"""What the contract does not say of S3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lib.clock import ManualClock
from lib.errors import PayloadTooLarge
from lib.storage.ports import StoreUnavailable
from lib.storage.s3 import MAX_BLOB_BYTES, S3BlobStore
from tests.kit.buckets import BUCKET, client_of, new_store, shared_client

KEY = "a/b"
SECRET = "hunter22hunter22"


def test_what_others_put_is_read_dated_and_listed(moto_url: str) -> None:
    client = shared_client(moto_url)
    client.put_object(Bucket=BUCKET, Key="others/a/b", Body=b"one")
    client.put_object(Bucket=BUCKET, Key="others/a/", Body=b"")  # a console's folder
    store = S3BlobStore(BUCKET, "others", connect=lambda: client)

    assert store.get(KEY) == b"one"
    assert [blob.key for blob in store.list("")] == [KEY]
    assert store.delete(KEY, unless_put_after=datetime.now(UTC) - timedelta(hours=1)) is False
    assert store.touch(KEY) is True
    assert store.get(KEY) == b"one"
    assert store.delete(KEY, unless_put_after=datetime.now(UTC) + timedelta(hours=1)) is True


def test_a_store_sees_nothing_beside_its_prefix(moto_url: str) -> None:
    client = shared_client(moto_url)
    client.put_object(Bucket=BUCKET, Key="beside-it/a", Body=b"")
    store = S3BlobStore(BUCKET, "beside", connect=lambda: client)

    assert list(store.list("")) == []


def test_a_touch_keeps_the_bytes_their_hash_and_their_etag(moto_url: str) -> None:
    clock = ManualClock()
    store = new_store(moto_url, clock=clock)
    put = store.put(KEY, b"one")
    clock.advance(seconds=1)

    assert store.touch(KEY) is True

    assert store.find(KEY) == put
    assert store.put(KEY, b"two", if_match=put.etag).size == 3


def test_a_bucket_that_is_not_there_is_not_an_absent_blob(moto_url: str) -> None:
    store = S3BlobStore("no-such-bucket", connect=lambda: shared_client(moto_url))

    for call in (lambda: store.get(KEY), lambda: store.put(KEY, b""), lambda: list(store.list(""))):
        with pytest.raises(StoreUnavailable, match="no such bucket"):
            call()


def test_a_server_that_is_away(s3_environment: None) -> None:
    waits: list[float] = []
    store = S3BlobStore("bucket", connect=client_of("http://127.0.0.1:1"), wait=waits.append)

    with pytest.raises(StoreUnavailable, match="no connection") as raised:
        store.put(KEY, b"", if_absent=True)

    assert raised.value.code == "store_unavailable"  # nothing was sent: no doubt
    assert len(waits) == 3


def test_without_credentials_the_operator_hears_which(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreUnavailable, match="AWS_ACCESS_KEY_ID"):
        S3BlobStore("bucket", connect=client_of("http://127.0.0.1:1")).get(KEY)


def test_no_credential_is_in_an_error(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = S3BlobStore("bucket", connect=client_of("http://127.0.0.1:1"), wait=lambda _: None)

    with pytest.raises(StoreUnavailable) as raised:
        store.get(KEY)

    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


def test_more_than_s3_takes_at_once_is_refused_before_it_is_sent(s3_environment: None) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_BLOB_BYTES + 1

    with pytest.raises(PayloadTooLarge, match="5,368,709,120"):
        S3BlobStore("bucket", connect=client_of("http://127.0.0.1:1")).put(KEY, Huge())


@pytest.mark.soak
def test_a_list_of_several_pages(moto_url: str) -> None:
    store = new_store(moto_url)
    keys = [f"{number:04}" for number in range(2100)]
    for key in keys:
        store.put(key, b"")

    assert [blob.key for blob in store.list("")] == keys
    assert [blob.key for blob in store.list("", after="0500")] == keys[501:]
