"""Bytes by key, and who names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol

from lib.errors import NotFound
from lib.storage.ports.errors import StoreUnavailable


class BlobNotFound(NotFound):
    """No blob has this key."""

    code = "blob_not_found"


class BlobTooLarge(StoreUnavailable):
    """A blob is larger than its reader can use; somebody else wrote it."""

    code = "blob_too_large"


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is known of a blob without reading it.

    `etag` is opaque. Other bytes under a key have another one; the same bytes put
    again may have the same one, because some stores make it of the bytes.
    """

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Blob(BlobInfo):
    """A whole blob; `etag` is that of exactly these bytes."""

    data: bytes = field(repr=False)


class BlobStore(Protocol):
    """Bytes under a key such as `sha256/ab/abcd...`; a put is whole or not at all.

    A key that `lib/storage/keys.py` refuses raises BadBlobKey from every method.
    """

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        """Store `data`, replacing what is there unless a condition says otherwise.

        Raises:
            PreconditionFailed: the key exists (`if_absent`), or its etag is
                another or it does not exist (`if_match`), or other puts of the
                key were going on each time; this one had no effect.
            PutInDoubt: the store did not say whether it has done it.
            PayloadTooLarge: `data` has more bytes than the store takes for one blob.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole blob. Raises BlobNotFound."""
        ...

    def read(
        self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None
    ) -> Blob | None:
        """Return a blob with its etag, as one look; None when the etag is `unless_etag`.

        A put that matches the returned etag replaces these bytes and no others.
        For None no byte of the blob was read.

        Args:
            key: The blob's.
            unless_etag: What the caller has already; another etag, or one that was
                never given, only costs the reading.
            limit_bytes: Counted while reading: never more is held in memory.

        Raises:
            BlobNotFound: it is not there, whatever `unless_etag` is.
            BlobTooLarge: it has more than `limit_bytes`.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open a blob for reading, with seek. Raises BlobNotFound."""
        ...

    def find(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, if it is there."""
        ...

    def touch(self, key: str) -> bool:
        """Make a blob as new as a put would; False when it is not there.

        For blobs whose key says what is in them: where another put is going on,
        some stores keep what was there before it.
        """
        ...

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        """Remove a blob; False when it stays, or was not there.

        Nothing is removed that was put or touched at or after `unless_put_after`.
        """
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix` and is above `after`, by key.

        Blobs that are put or deleted meanwhile may be missed or still be there.
        It costs what is yielded, not what is skipped.
        """
        ...


class BlobReferences(Protocol):
    """Which blobs the records of all stores name, and how far the sweep has come.

    A record and the names that it gives are written as one unit, so a blob that
    no record names yet is one that was just put, or nobody's.
    """

    def find_unnamed(self, sha256s: Sequence[str]) -> set[str]:
        """Return those of these blobs that no record names.

        It sees every record that was acknowledged before the call. One look-up
        a blob; nothing is locked.
        """
        ...

    def swept_to(self) -> str:
        """Return the SHA-256 up to which the present round of the sweep has come.

        Empty at the start of a round.
        """
        ...

    def mark_swept(self, up_to: str) -> None:
        """Record how far the round has come."""
        ...
