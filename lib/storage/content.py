"""Content named by its SHA-256, over any BlobStore."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import BinaryIO, Final, cast

from lib.storage.keys import content_key
from lib.storage.ports import BlobStore, PreconditionFailed, Sealer, unavailable_for
from lib.storage.stored import MAX_INLINE_BYTES, Stored, StoredBytes

CHUNK_BYTES: Final = 1024 * 1024
_FOLDER: Final = "sha256/"  # of every content_key
_TROUBLE: Final = "Content cannot be kept now"
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_SPOOL_BYTES: Final = 8 * 1024 * 1024  # a stream up to this size never touches the disk twice


class ContentStore:
    """Puts bytes once, whoever brings them, and names them by what they are.

    A put of what is there already makes it new again, so that a sweep that was
    about to delete it lets it be.

    Args:
        blobs: Where they go.
        scratch: Folder of the temporary copies of large streams; None is the system's.
        sealer: Has the key to sealed values; None where there are none.
    """

    def __init__(
        self, blobs: BlobStore, *, scratch: str | None = None, sealer: Sealer | None = None
    ) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._sealer = sealer

    def put_bytes(self, data: bytes) -> tuple[str, int]:
        """Store `data`; return its SHA-256 in hex and its size."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._put(sha256, data)
        return sha256, len(data)

    def put_stream(self, stream: BinaryIO) -> tuple[str, int]:
        """Store what is left of `stream`; return its SHA-256 in hex and its size.

        Raises:
            StoreUnavailable: the disk is full, also that of the temporary copy.
        """
        with unavailable_for(_TROUBLE):
            return self._put_copy(stream)

    def store_stream(self, stream: BinaryIO, *, room_bytes: int) -> StoredBytes:
        """Return a value that keeps what is left of `stream`: its bytes when few, else a blob.

        Args:
            stream: Read to its end.
            room_bytes: How many bytes the value may hold; more than MAX_INLINE_BYTES
                it never does.

        Raises:
            StoreUnavailable: as `put_stream`.
        """
        room = min(room_bytes, MAX_INLINE_BYTES)
        with unavailable_for(_TROUBLE):
            start = _read_up_to(stream, room + 1)
            if len(start) <= room:
                return StoredBytes(hashlib.sha256(start).hexdigest(), len(start), start)
            return StoredBytes(*self._put_copy(stream, start))

    def _put_copy(self, stream: BinaryIO, start: bytes = b"") -> tuple[str, int]:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES, dir=self._scratch) as copy:
            digest = hashlib.sha256()
            chunk = start or stream.read(CHUNK_BYTES)
            while chunk:
                digest.update(chunk)
                copy.write(chunk)
                chunk = stream.read(CHUNK_BYTES)
            size = copy.tell()
            copy.seek(0)
            self._put(digest.hexdigest(), cast("BinaryIO", copy))
        return digest.hexdigest(), size

    def get(self, sha256: str) -> bytes:
        """Return the whole content. Raises BlobNotFound."""
        return self._blobs.get(content_key(sha256))

    def open(self, sha256: str) -> AbstractContextManager[BinaryIO]:
        """Open content for reading, with seek. Raises BlobNotFound."""
        return self._blobs.open(content_key(sha256))

    def open_stored(self, value: StoredBytes) -> AbstractContextManager[BinaryIO]:
        """Open the bytes of a value for reading, with seek. Raises BlobNotFound."""
        return self.open(value.sha256) if value.data is None else io.BytesIO(value.data)

    def store_json(self, text: str, *, sealed: bool = False) -> Stored:
        """Return a value that keeps JSON text: itself when small, else a blob.

        Args:
            text: JSON.
            sealed: Nothing that is kept shows it. The same text is another value
                each time, so it is kept as often as it is stored.
        """
        data = text.encode()
        if sealed:
            return self._store_sealed(data)
        if len(data) <= MAX_INLINE_BYTES:
            return Stored(len(data), text=text)
        sha256, size = self.put_bytes(data)
        return Stored(size, sha256=sha256)

    def load_json(self, value: Stored) -> str:
        """Return the JSON text of a value, opened where it is sealed.

        Raises:
            BlobNotFound: its blob is gone.
            Unavailable: as Sealer.open, of this value only.
        """
        if value.key_id is not None:
            return self._key.open(self._box_of(value), key_id=value.key_id).decode()
        if value.sha256 is None:
            return value.text or ""
        return self.get(value.sha256).decode()

    def list(self, *, after: str = "") -> Iterator[str]:
        """Yield the SHA-256 of all content above `after`, in order."""
        for blob in self._blobs.list(_FOLDER, after=content_key(after) if after else ""):
            sha256 = blob.key.rpartition("/")[2]
            if blob.key == content_key(sha256) and _SHA256.match(sha256):
                yield sha256

    def delete(self, sha256: str, *, unless_put_after: datetime) -> bool:
        """Remove content that no record names; False when somebody put it again since."""
        return self._blobs.delete(content_key(sha256), unless_put_after=unless_put_after)

    @property
    def _key(self) -> Sealer:
        if self._sealer is None:
            raise RuntimeError("this ContentStore was made without a sealer")
        return self._sealer

    def _store_sealed(self, data: bytes) -> Stored:
        """Seal; what is kept in the record is limited after base64 made it a third larger."""
        box = self._key.seal(data)
        if _base64_size(box) <= MAX_INLINE_BYTES:
            text = base64.b64encode(box).decode("ascii")
            return Stored(len(data), text=text, key_id=self._key.key_id)
        sha256, _ = self.put_bytes(box)
        return Stored(len(data), sha256=sha256, key_id=self._key.key_id)

    def _box_of(self, value: Stored) -> bytes:
        if value.sha256 is not None:
            return self.get(value.sha256)
        try:
            return base64.b64decode(value.text or "", validate=True)
        except ValueError:
            return b""  # damaged: no sealer opens it, and its error says what to do

    def _put(self, sha256: str, data: bytes | BinaryIO) -> None:
        key = content_key(sha256)
        if self._blobs.touch(key):
            return
        with suppress(PreconditionFailed):  # the same content, from somebody else
            self._blobs.put(key, data, if_absent=True)


def _read_up_to(stream: BinaryIO, count: int) -> bytes:
    """Return so many bytes of what is left, or all: one read may give fewer."""
    data = stream.read(count)
    while 0 < len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def _base64_size(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4
