"""Blobs in memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO

from lib.clock import Clock, SystemClock
from lib.storage.keys import check_key, check_prefix
from lib.storage.ports import Blob, BlobInfo, BlobNotFound, BlobTooLarge, PreconditionFailed


class MemoryBlobStore:
    """A BlobStore of one dictionary: bytes, a version number and a time by key."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._blobs: dict[str, tuple[bytes, int, datetime]] = {}
        self._version = 0

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        """Store `data`. Raises PreconditionFailed."""
        content = data if isinstance(data, bytes) else data.read()
        with self._lock:
            known = self._find(check_key(key))
            if (if_absent and known) or _differs(known, if_match):
                raise PreconditionFailed(f"Blob {key} is in another state.")
            self._version += 1
            self._blobs[key] = (content, self._version, self._clock.now())
            return BlobInfo(key, len(content), str(self._version))

    def get(self, key: str) -> bytes:
        """Return the whole blob. Raises BlobNotFound."""
        with self._lock:
            return self._get(key).data

    def read(
        self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None
    ) -> Blob | None:
        """Return a blob with its etag. Raises BlobNotFound, BlobTooLarge."""
        with self._lock:
            blob = self._get(key)
        if blob.etag == unless_etag:
            return None
        if limit_bytes is not None and blob.size > limit_bytes:
            raise BlobTooLarge(f"Blob {key} has more than {limit_bytes} bytes.")
        return blob

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open a blob for reading, with seek. Raises BlobNotFound."""
        return io.BytesIO(self.get(key))

    def find(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, if it is there."""
        with self._lock:
            return self._find(check_key(key))

    def touch(self, key: str) -> bool:
        """Make a blob as new as a put would; False when it is not there."""
        with self._lock:
            if check_key(key) not in self._blobs:
                return False
            content, version, _ = self._blobs[key]
            self._blobs[key] = (content, version, self._clock.now())
            return True

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        """Remove a blob; False when it is not there, or was put or touched since."""
        with self._lock:
            if check_key(key) not in self._blobs:
                return False
            if unless_put_after is not None and self._blobs[key][2] >= unless_put_after:
                return False
            del self._blobs[key]
            return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix` and is above `after`, by key."""
        check_prefix(prefix)
        with self._lock:
            keys = [key for key in sorted(self._blobs) if key.startswith(prefix) and key > after]
            found = [self._find(key) for key in keys]
        yield from (blob for blob in found if blob)

    def _get(self, key: str) -> Blob:
        if check_key(key) not in self._blobs:
            raise BlobNotFound(f"There is no blob {key}.")
        content, version, _ = self._blobs[key]
        return Blob(key, len(content), str(version), content)

    def _find(self, key: str) -> BlobInfo | None:
        if key not in self._blobs:
            return None
        content, version, _ = self._blobs[key]
        return BlobInfo(key, len(content), str(version))


def _differs(known: BlobInfo | None, etag: str | None) -> bool:
    return etag is not None and (known is None or known.etag != etag)
