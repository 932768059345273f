"""Uploads: announced, sent, checked, used by a run or swept."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO, Final, Self, cast

from lib.clock import Clock
from lib.errors import Conflict, FieldError, Invalid, PayloadTooLarge
from lib.ids import Ids
from lib.storage.content import ContentStore
from lib.storage.ports import UploadNotFound, UploadStore, unavailable_for
from lib.storage.records import Upload

LIFETIME: Final = timedelta(hours=24)
MAX_UPLOAD_BYTES: Final = 100 * 1024 * 1024
_TROUBLE: Final = "The upload cannot be kept now"


class UploadConflict(Conflict):
    """The bytes of this upload are there already."""

    code = "upload_conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a client says of the bytes it will send."""

    name: str
    size: int
    sha256: str
    media_type: str


class Uploads:
    """Takes announced bytes.

    Args:
        folder: Where bytes wait until they are whole; on the blobs' file system.
    """

    def __init__(
        self, *, store: UploadStore, content: ContentStore, clock: Clock, ids: Ids, folder: Path
    ) -> None:
        self._store = store
        self._content = content
        self._clock = clock
        self._ids = ids
        self._folder = folder

    def announce(self, announcement: Announcement, *, by: str) -> Upload:
        """Record an upload; its bytes are due within LIFETIME."""
        now = self._clock.now()
        upload = Upload(
            id=self._ids.new("upl"),
            name=announcement.name,
            size=announcement.size,
            sha256=announcement.sha256,
            media_type=announcement.media_type,
            created_by=by,
            created_at=now,
            expires_at=now + LIFETIME,
        )
        self._store.create(upload)
        return upload

    def get(self, upload_id: str) -> Upload:
        """Return an upload that has not expired. Raises UploadNotFound."""
        upload = self._store.get(upload_id)
        if upload.used_at is None and upload.expires_at <= self._clock.now():
            raise UploadNotFound(f"Upload {upload_id} has expired; announce it again.")
        return upload

    def receive(self, upload: Upload) -> Receiver:
        """Return what takes the bytes, into a file without a name; close it.

        Raises:
            StoreUnavailable: there is no room for it.
        """
        with unavailable_for(_TROUBLE):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Unbuffered: what a full disk did not take is not tried again at the close.
            return Receiver(upload, TemporaryFile(dir=self._folder, buffering=0))

    def keep(self, receiver: Receiver) -> Upload:
        """Store what was received.

        Raises:
            Invalid: its size or hash is not what was announced.
        """
        with receiver.checked() as file:
            self._content.put_stream(cast("BinaryIO", file))
        return self._store.mark_received(receiver.upload.id, at=self._clock.now())


class Receiver:
    """Counts and hashes bytes while they are written to a file.

    Whoever waits for a write may be cancelled, and then closes it while a thread still
    writes or reads: the close waits for that.
    """

    def __init__(self, upload: Upload, file: IO[bytes]) -> None:
        self.upload = upload
        self._file = file
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the bytes go."""
        with self._lock:
            self._file.close()

    def write(self, chunk: bytes) -> None:
        """Take a chunk.

        Raises:
            PayloadTooLarge: more came than was announced.
            StoreUnavailable: the disk is full.
        """
        self._size += len(chunk)
        if self._size > self.upload.size:
            raise PayloadTooLarge(
                f"Send the {self.upload.size} bytes that were announced, not more."
            )
        self._hash.update(chunk)
        rest = memoryview(chunk)
        with self._lock, unavailable_for(_TROUBLE):
            while rest:
                rest = rest[self._file.write(rest) :]

    @contextmanager
    def checked(self) -> Iterator[IO[bytes]]:
        """Give the file, at its start, for a while. Raises Invalid where it is not as announced."""
        self._check()
        with self._lock:
            self._file.seek(0)
            yield self._file

    def _check(self) -> None:
        errors = []
        if self._size != self.upload.size:
            errors.append(
                FieldError("/size", f"{self.upload.size} was announced, {self._size} came")
            )
        if self._hash.hexdigest() != self.upload.sha256:
            errors.append(FieldError("/sha256", "the bytes have another SHA-256 than announced"))
        if errors:
            raise Invalid("Send exactly the bytes that were announced.", errors)
