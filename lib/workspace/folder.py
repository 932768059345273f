"""The workspace's folder on disk, beneath one directory descriptor.

No symbolic link is ever followed, in no part of a path: a worker's author who
links `workers/x` to `/etc` gets neither reads nor writes there.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lib.workspace.durable import write_all
from lib.workspace.tree_objects import EXECUTABLE, FILE

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES: Final = 1024 * 1024


class NotRegular(OSError):
    """A link, folder, FIFO, socket or device where a regular file is due."""


class IsFolder(NotRegular):
    """A folder where a regular file is due."""


class TooLarge(OSError):
    """The file is larger than the caller takes."""


class Folder:
    """Reads and writes files of a root folder. Paths are text with `/`.

    Args:
        root: The folder; it must exist.
        scratch: A folder on the same file system for files on their way.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch

    def read(self, path: str, *, limit_bytes: int | None = None) -> tuple[bytes, int]:
        """Return a regular file's bytes and git's mode for it.

        Raises:
            FileNotFoundError: there is nothing, or a part of the path is a file.
            NotRegular: there is something else, or a link on the way.
            TooLarge: it has more than `limit_bytes`.
            OSError: it cannot be read.
        """
        with self._parent(path) as (parent, name):
            return read_at(parent, name, limit_bytes=limit_bytes)

    def write(self, path: str, data: bytes, *, executable: bool) -> None:
        """Put a file by rename; folders on the way are made. Not forced to disk.

        Raises:
            NotRegular: a part of the path is a link or a file.
            OSError: it cannot be written; the old file stands.
        """
        scratch = self._scratch / f"out-{secrets.token_hex(8)}"
        descriptor = os.open(
            scratch,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            0o755 if executable else 0o644,
        )
        try:
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
            with self._parent(path, create=True) as (parent, name):
                os.rename(scratch, name, dst_dir_fd=parent)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise

    def delete(self, path: str) -> None:
        """Remove a file and the folders that this empties; no error if absent."""
        folder = path
        with suppress(FileNotFoundError), self._parent(path) as (parent, name):
            os.unlink(name, dir_fd=parent)
        with suppress(OSError):  # not empty, or gone: both are an end
            while folder := folder.rpartition("/")[0]:
                with self._parent(folder) as (parent, name):
                    os.rmdir(name, dir_fd=parent)

    def remove_if_empty(self, path: str) -> bool:
        """Remove a folder that holds nothing; returns whether it was one."""
        try:
            with self._parent(path) as (parent, name):
                os.rmdir(name, dir_fd=parent)
        except OSError:
            return False
        return True

    @contextmanager
    def opened(self, path: str = "") -> Iterator[int]:
        """Open a folder and yield its descriptor.

        Raises:
            FileNotFoundError, NotRegular, OSError: as `read`.
        """
        with self._parent(f"{path}/." if path else ".") as (parent, _):
            yield parent

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        *folders, name = path.split("/")
        here = os.open(self.root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
        try:
            for folder in folders:
                below = _enter(here, folder, create=create)
                os.close(here)
                here = below
            yield here, name
        finally:
            os.close(here)


def read_at(parent: int, name: str, *, limit_bytes: int | None = None) -> tuple[bytes, int]:
    """Read a regular file of an open folder; see `Folder.read`."""
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
    except NotADirectoryError as ex:
        raise FileNotFoundError(ex.errno, ex.strerror) from ex
    except OSError as ex:
        raise _explained(parent, name, ex) from ex
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsFolder(0, kind_of(status.st_mode))
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(0, kind_of(status.st_mode))
        return _read_all(descriptor, limit_bytes), git_mode(status.st_mode)
    finally:
        os.close(descriptor)


def git_mode(mode: int) -> int:
    """Return git's mode of a regular file with this `st_mode`."""
    return EXECUTABLE if mode & stat.S_IXUSR else FILE


def kind_of(mode: int) -> str:
    """Return what to call something that is no regular file."""
    names = {
        stat.S_IFLNK: "is a symbolic link",
        stat.S_IFDIR: "is a folder",
        stat.S_IFIFO: "is a FIFO",
        stat.S_IFSOCK: "is a socket",
    }
    return names.get(stat.S_IFMT(mode), "is a device")


def _enter(parent: int, name: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except NotADirectoryError as ex:  # a file, or with O_NOFOLLOW a link
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) or create:
            raise NotRegular(ex.errno, kind_of(mode)) from ex
        raise FileNotFoundError(ex.errno, ex.strerror) from ex


def _explained(parent: int, name: str, ex: OSError) -> OSError:
    """Tell a link or socket, which cannot be opened, from a real failure."""
    with suppress(OSError):
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            return NotRegular(0, kind_of(mode))
    return ex


def _read_all(descriptor: int, limit: int | None) -> bytes:
    chunks, size = [], 0
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if limit is not None and size > limit:
            raise TooLarge(0, f"is larger than {limit} bytes")
    return b"".join(chunks)
