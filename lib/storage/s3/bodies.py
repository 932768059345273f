"""The bytes of objects: sent from where they can be sought, received and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, Final, cast

from lib.errors import PayloadTooLarge
from lib.storage.ports import BlobTooLarge, StoreUnavailable
from lib.storage.s3.answers import DamagedAnswer
from lib.storage.s3.marks import sha256_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MAX_BLOB_BYTES: Final = 5 * 1024**3  # S3: one PUT, and one copy
_MEMORY_BYTES: Final = 8 * 1024 * 1024  # of a stream; the rest is in a file without a name
_CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to put: they are sent twice if need be, and read once more to be signed."""

    content: bytes | IO[bytes]
    size: int
    sha256: str

    def from_start(self) -> bytes | IO[bytes]:
        """Return the content as the next request takes it."""
        if not isinstance(self.content, bytes):
            self.content.seek(0)
        return self.content


@contextmanager
def body_of(data: bytes | BinaryIO) -> Iterator[Body]:
    """Make a body of bytes, or of what is left of a stream, whose own errors pass.

    Raises:
        PayloadTooLarge: it has more than MAX_BLOB_BYTES.
        StoreUnavailable: there is no place for the stream.
    """
    if isinstance(data, bytes):
        _check_size(len(data))
        yield Body(data, len(data), hashlib.sha256(data).hexdigest())
        return
    with new_spool() as file:
        digest = hashlib.sha256()
        while chunk := data.read(_CHUNK_BYTES):
            spool(file, chunk)
            digest.update(chunk)
            _check_size(file.tell())
        yield Body(file, file.tell(), digest.hexdigest())


def receive(
    answer: GetObjectOutputTypeDef,
    write: Callable[[bytes], object],
    *,
    key: str,
    limit_bytes: int | None = None,
) -> int:
    """Hand an object's bytes to `write`, chunk by chunk, and return how many there are.

    Raises:
        BlobTooLarge: there are more than `limit_bytes`; not all of them were read.
        DamagedAnswer: they are not the bytes that were put. All were handed over.
    """
    digest, size = hashlib.sha256(), 0
    with closing(answer["Body"]) as body:
        while chunk := body.read(_CHUNK_BYTES):
            size += len(chunk)
            if limit_bytes is not None and size > limit_bytes:
                raise BlobTooLarge(f"Blob {key} has more than {limit_bytes} bytes.")
            digest.update(chunk)
            write(chunk)
    if sha256_of(answer["Metadata"]) not in (None, digest.hexdigest()):
        raise DamagedAnswer
    return size


def new_spool() -> BinaryIO:
    """Return an empty file of memory, and of disk when it grows."""
    return cast("BinaryIO", SpooledTemporaryFile(_MEMORY_BYTES))


def spool(file: BinaryIO, chunk: bytes) -> None:
    """Write to such a file. Raises StoreUnavailable: the disk is full."""
    try:
        file.write(chunk)
    except OSError as ex:
        raise StoreUnavailable(f"There is no place for temporary files: {ex.strerror}.") from ex


def _check_size(size: int) -> None:
    if size > MAX_BLOB_BYTES:
        raise PayloadTooLarge(f"A blob in S3 has at most {MAX_BLOB_BYTES:,} bytes.")
