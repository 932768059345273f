"""Blobs as files of a folder."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from lib.clock import Clock, SystemClock, to_milliseconds
from lib.storage.keys import BadBlobKey, check_key, check_prefix, is_segment
from lib.storage.ports import (
    Blob,
    BlobInfo,
    BlobNotFound,
    BlobTooLarge,
    PreconditionFailed,
    PutInDoubt,
    StoreUnavailable,
)

LOCKS: Final = 64
STALE_SECONDS: Final = 24 * 3600  # a put that has not ended by then was killed
_COPY_BYTES: Final = 1024 * 1024
_NS_A_MS: Final = 1_000_000


class FileBlobStore:
    """A BlobStore whose keys are the paths of files below `root`.

    A put writes a file of its own, syncs it and renames it, so readers see the
    old bytes or the new ones. Conditions are checked, and files renamed and
    deleted, under a lock that holds between threads and processes. No key may
    be the folder of another.

    Args:
        root: Made if it is not there; belongs to this store alone.
        clock: What puts and touches are dated by.
    """

    def __init__(self, root: Path, *, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock or SystemClock()
        # Names that no key can have: keys have no segment with a dot in front.
        self._unfinished = root / ".unfinished"
        self._locks = root / ".locks"
        for folder in (root, self._unfinished, self._locks):
            folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale()

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        """Store `data`. Raises PreconditionFailed, PutInDoubt, StoreUnavailable."""
        path = self._path(key)
        self._check(key, if_absent=if_absent, if_match=if_match)  # before any byte is written
        written = self._unfinished / secrets.token_hex(16)
        try:
            _write(written, io.BytesIO(data) if isinstance(data, bytes) else data)
            with self._lock(key):
                self._check(key, if_absent=if_absent, if_match=if_match)
                return self._move(written, path, key)
        finally:
            written.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        """Return the whole blob. Raises BlobNotFound."""
        with self.open(key) as blob:
            return blob.read()

    def read(
        self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None
    ) -> Blob | None:
        """Return a blob with its etag. Raises BlobNotFound, BlobTooLarge."""
        with self.open(key) as file, _translated(key):
            # Of the open file, whose bytes never change: a put replaces the file.
            etag = _etag(os.fstat(file.fileno()))
            if etag == unless_etag:
                return None
            data = file.read() if limit_bytes is None else file.read(limit_bytes + 1)
        if limit_bytes is not None and len(data) > limit_bytes:
            raise BlobTooLarge(f"Blob {key} has more than {limit_bytes} bytes.")
        return Blob(key, len(data), etag, data)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open a blob for reading, with seek. Raises BlobNotFound."""
        path = self._path(key)
        with _translated(key):
            try:
                return path.open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as ex:
                raise BlobNotFound(f"There is no blob {key}.") from ex

    def find(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, if it is there."""
        return _info(self._path(key), key)

    def touch(self, key: str) -> bool:
        """Make a blob as new as a put would; False when it is not there."""
        path = self._path(key)
        with self._lock(key):
            if _info(path, key) is None:
                return False
            self._date(path, path)
            return True

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        """Remove a blob; False when it is not there, or was put or touched since."""
        path = self._path(key)
        with self._lock(key):
            if _info(path, key) is None:
                return False
            if unless_put_after is not None and _put_at(path) >= to_milliseconds(unless_put_after):
                return False
            path.unlink()
            return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix` and is above `after`, by key."""
        folder, _, _ = check_prefix(prefix).rpartition("/")
        for key in _walk(self._root / folder, f"{folder}/" if folder else "", after):
            if key.startswith(prefix) and (blob := self.find(key)):
                yield blob

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _check(self, key: str, *, if_absent: bool, if_match: str | None) -> None:
        if not if_absent and if_match is None:
            return
        known = self.find(key)
        if if_absent and known:
            raise PreconditionFailed(f"Blob {key} is there already.")
        if if_match is not None and (known is None or known.etag != if_match):
            raise PreconditionFailed(f"Blob {key} is another than {if_match}.")

    def _move(self, written: Path, path: Path, key: str) -> BlobInfo:
        """Give a written file its place, durably."""
        _make_folder(path.parent)
        self._date(written, path)
        written.replace(path)
        try:
            _sync_folder(path.parent)
        except OSError as ex:  # it is there, but a power cut may undo it
            raise PutInDoubt(f"Blob {key} may not be on disk: {ex.strerror}.") from ex
        blob = _info(path, key)
        assert blob is not None  # noqa: S101 - the lock is ours
        return blob

    def _date(self, written: Path, replaced: Path) -> None:
        """Date a file now, and after the one it replaces: the etag is made of that.

        The random part keeps etags apart when a key is deleted and put again
        within a millisecond, and gets the same inode number.
        """
        now = to_milliseconds(self._clock.now()) * _NS_A_MS + secrets.randbelow(_NS_A_MS)
        if replaced.is_file():
            now = max(now, replaced.lstat().st_mtime_ns + 1)
        os.utime(written, ns=(now, now))

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Hold the lock of a key; a few keys share one."""
        number = hashlib.sha256(key.encode()).digest()[0] % LOCKS
        # flock belongs to the open file, so threads exclude each other too.
        with _translated(key), (self._locks / f"{number:02}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _remove_stale(self) -> None:
        for path in self._unfinished.iterdir():
            with suppress(FileNotFoundError):  # another process has just finished it
                if path.lstat().st_mtime < time.time() - STALE_SECONDS:
                    path.unlink()


def _write(path: Path, source: BinaryIO) -> None:
    """Write what is left of `source` to a new file, durably; its own errors pass."""
    with _translated(path.name):
        file = path.open("xb", buffering=0)
    with file:
        while chunk := source.read(_COPY_BYTES):
            with _translated(path.name):
                _write_all(file, chunk)
        with _translated(path.name):
            os.fsync(file.fileno())


def _write_all(file: io.FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Turn what the file system says into what the port says."""
    try:
        yield
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as ex:
        raise BadBlobKey(f"Blob key {key} is the folder of another key, or below a blob.") from ex
    except OSError as ex:
        raise StoreUnavailable(f"The blob folder cannot be used now: {ex.strerror}.") from ex


def _info(path: Path, key: str) -> BlobInfo | None:
    try:
        stat = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not path.is_file():
        return None
    return BlobInfo(key, stat.st_size, _etag(stat))


def _etag(stat: os.stat_result) -> str:
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _put_at(path: Path) -> int:
    return path.lstat().st_mtime_ns // _NS_A_MS


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path, prefix: str, after: str) -> Iterator[str]:
    """Yield the keys of all files below `folder` above `after`, sorted as whole keys.

    Folders that can hold none are not entered; what has no name of a key is not ours.
    """
    for name in _names(folder, prefix):
        key = prefix + name
        if name.endswith("/"):
            if key > after or after.startswith(key):
                yield from _walk(folder / name, key, after)
        elif key > after:
            yield key


def _names(folder: Path, key: str) -> list[str]:
    """Return the names in a folder; `a-b` sorts before `a/b`: a folder has its slash."""
    with _translated(key):
        try:
            with os.scandir(folder) as entries:
                ours = [entry for entry in entries if is_segment(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in ours)
