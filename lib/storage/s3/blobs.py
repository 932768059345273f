"""Blobs as objects of a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from lib.clock import Clock, SystemClock, to_milliseconds
from lib.storage.keys import check_key, check_prefix
from lib.storage.ports import (
    Blob,
    BlobInfo,
    BlobNotFound,
    PreconditionFailed,
    PutInDoubt,
    StoreUnavailable,
)
from lib.storage.s3 import marks
from lib.storage.s3.answers import Answer
from lib.storage.s3.bodies import body_of, new_spool, receive, spool
from lib.storage.s3.client import connect as connect_to_aws
from lib.storage.s3.pages import Page, page_of
from lib.storage.s3.requests import ANY_NUMBER, OF_STATE, UNTIL_SENT, Failure, Requests, sleep

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class S3BlobStore:
    """A BlobStore whose keys are names of objects below `prefix`.

    Conditions are S3's own (`If-None-Match: *`, `If-Match`), so they hold among
    any number of hosts; `check_conditions` finds out whether the server knows them.
    Each object carries its SHA-256, which every read compares, and its time.
    Between a deletion's look at that time and the deletion itself, a put or touch
    of the very same bytes goes unseen: their etag is the same.

    Args:
        bucket: Exists already.
        prefix: Without a slash at its end; empty is the whole bucket.
        connect: Makes the client, at the first request.
        clock: What puts and touches are dated by.
        wait: Sleeps for so many seconds between two attempts of a request.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        connect: Callable[[], S3Client] = connect_to_aws,
        clock: Clock | None = None,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._clock = clock or SystemClock()
        self._requests = Requests(connect, wait=wait, place=f"s3://{bucket}/{self._root}")

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        """Store `data`. Raises PreconditionFailed, PutInDoubt, PayloadTooLarge."""
        name = self._name(key)
        condition = _condition(key, if_absent=if_absent, if_match=if_match)
        with body_of(data) as body:

            def request(s3: S3Client) -> str:
                metadata = marks.metadata_of(body.sha256, self._clock.now())
                answer = s3.put_object(
                    **name, Body=body.from_start(), Metadata=metadata, **condition
                )
                return marks.etag_of(answer.get("ETag"))

            try:
                etag = self._requests.send(request, repeat=UNTIL_SENT if condition else ANY_NUMBER)
            except Failure as failure:
                raise self._not_put(failure, key, on_condition=bool(condition)) from None
        return BlobInfo(key, body.size, etag)

    def get(self, key: str) -> bytes:
        """Return the whole blob. Raises BlobNotFound."""
        with self.open(key) as blob:
            return blob.read()

    def read(
        self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None
    ) -> Blob | None:
        """Return a blob with its etag. Raises BlobNotFound, BlobTooLarge."""
        name = self._name(key)
        known = unless_etag if unless_etag is not None and marks.is_etag(unless_etag) else None
        condition: dict[str, Any] = {"IfNoneMatch": marks.quoted(known)} if known else {}

        def request(s3: S3Client) -> Blob | None:
            answer = s3.get_object(**name, **condition)
            etag, data = marks.etag_of(answer.get("ETag")), bytearray()
            if etag == known:  # the server does not know the condition
                answer["Body"].close()
                return None
            size = receive(answer, data.extend, key=key, limit_bytes=limit_bytes)
            return Blob(key, size, etag, bytes(data))

        try:
            return self._requests.send(request, repeat=ANY_NUMBER)
        except Failure as failure:
            if known and failure.answer is Answer.UNCHANGED:
                return None
            raise self._not_read(failure, key) from None

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Copy a blob to a file without a name, and open that. Raises BlobNotFound."""
        name = self._name(key)
        file = new_spool()

        def request(s3: S3Client) -> None:
            file.seek(0)
            file.truncate()
            receive(s3.get_object(**name), lambda chunk: spool(file, chunk), key=key)
            file.seek(0)

        try:
            self._requests.send(request, repeat=ANY_NUMBER)
        except Failure as failure:
            file.close()
            raise self._not_read(failure, key) from None
        except BaseException:
            file.close()
            raise
        return file

    def find(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, if it is there."""
        head = self._head(key)
        return None if head is None else BlobInfo(key, head.size, head.etag)

    def touch(self, key: str) -> bool:
        """Make a blob as new as a put would, by copying it onto itself."""
        name, head = self._name(key), self._head(key)
        if head is None:
            return False
        etag = marks.quoted(head.etag)
        metadata = marks.metadata_of(head.sha256, self._clock.now())
        refusal = self._change(
            lambda s3: s3.copy_object(
                **name,
                CopySource={"Bucket": name["Bucket"], "Key": name["Key"]},
                CopySourceIfMatch=etag,
                IfMatch=etag,
                MetadataDirective="REPLACE",
                Metadata=metadata,
            )
        )
        return refusal is not Answer.ABSENT  # what was put since is as new

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        """Remove a blob; False when it is not there, or was put or touched since."""
        name, head = self._name(key), self._head(key)
        if head is None:
            return False
        if unless_put_after is None:
            return self._change(lambda s3: s3.delete_object(**name)) is None
        if head.put_at >= to_milliseconds(unless_put_after):
            return False
        etag = marks.quoted(head.etag)
        return self._change(lambda s3: s3.delete_object(**name, IfMatch=etag)) is None

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix` and is above `after`, by key."""
        start = {"StartAfter": self._root + after} if after else {}
        below = self._root + check_prefix(prefix)
        token: dict[str, str] = {}
        while True:
            page = self._page({"Prefix": below, **start, **token})
            yield from page.blobs
            if page.next_token is None:
                return
            token = {"ContinuationToken": page.next_token}

    def _page(self, where: dict[str, Any]) -> Page:
        try:
            return self._requests.send(
                lambda s3: page_of(s3.list_objects_v2(Bucket=self._bucket, **where), self._root),
                repeat=ANY_NUMBER,
            )
        except Failure as failure:
            raise self._requests.unavailable(failure) from None

    def _name(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    def _head(self, key: str) -> marks.Head | None:
        name = self._name(key)
        try:
            return self._requests.send(
                lambda s3: marks.head_of(s3.head_object(**name)), repeat=ANY_NUMBER
            )
        except Failure as failure:
            if failure.answer is Answer.ABSENT:
                return None
            raise self._requests.unavailable(failure) from None

    def _change(self, request: Callable[[S3Client], object]) -> Answer | None:
        """Send what may be sent twice; return why another state forbade it, if one did."""
        try:
            self._requests.send(request, repeat=ANY_NUMBER)
        except Failure as failure:
            if failure.answer in (Answer.ABSENT, Answer.MISMATCH):
                return failure.answer
            raise self._requests.unavailable(failure) from None
        return None

    def _not_read(self, failure: Failure, key: str) -> BlobNotFound | StoreUnavailable:
        if failure.answer is Answer.ABSENT:
            return BlobNotFound(f"There is no blob {key}.")
        return self._requests.unavailable(failure)

    def _not_put(
        self, failure: Failure, key: str, *, on_condition: bool
    ) -> PreconditionFailed | PutInDoubt | StoreUnavailable:
        if failure.in_doubt:
            return self._requests.in_doubt(failure, key)
        if on_condition and failure.answer in OF_STATE:
            return PreconditionFailed(f"Blob {key} is in another state.")
        return self._requests.unavailable(failure)


def _condition(key: str, *, if_absent: bool, if_match: str | None) -> dict[str, Any]:
    if if_match is None:
        return {"IfNoneMatch": "*"} if if_absent else {}
    if if_absent or not marks.is_etag(if_match):
        raise PreconditionFailed(f"Blob {key} cannot be in this state.")
    return {"IfMatch": marks.quoted(if_match)}
