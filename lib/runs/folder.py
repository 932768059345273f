"""A run's working directory, read and written without trusting what is in it.

A worker may leave links, FIFOs, devices and files that grow while they are
read. Every path is walked from a directory descriptor one name at a time, links
are never followed, and only regular files are opened.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

MAX_DEPTH: Final = 64

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: opening a FIFO would otherwise wait for a writer for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnsafePath(Exception):
    """The path leaves the folder, or leads through a link or to no regular file."""


class MissingFile(Exception):
    """There is no such file in the folder."""


class WorkFolder:
    """A folder opened by descriptor; a context manager.

    Args:
        path: The folder; what happens to its name later does not matter.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, path: Path) -> None:
        self._root = os.open(path, _FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def open_file(self, path: str) -> BinaryIO:
        """Open a regular file for reading.

        Raises:
            MissingFile: nothing is there.
            UnsafePath: see the class; the message completes "`path` ...".
        """
        *folders, name = parts_of(path)
        parent = self._descend(folders)
        try:
            file = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            raise _explain(error) from error
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise UnsafePath("is not a regular file")
        return os.fdopen(file, "rb")

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Create a file with its folders.

        Raises:
            UnsafePath: the path leaves the folder.
            FileExistsError: something is there already.
        """
        with self._create(path, mode) as file:
            file.write(data)

    def copy_from(self, path: str, source: BinaryIO) -> None:
        """Put a file from a stream, in place of one that is there; raises as `write` does."""
        self._remove(path)
        with self._create(path, 0o644) as file:
            shutil.copyfileobj(source, file)

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link that stays inside the folder.

        Raises:
            UnsafePath: `target` leads out of it.
        """
        *folders, name = parts_of(path)
        resolved = os.path.normpath("/".join([*folders, target]))
        if target.startswith("/") or resolved.split("/")[0] == "..":
            raise UnsafePath("is a link that leaves the worker's folder")
        parent = self._descend(folders, create=True)
        try:
            os.symlink(target, name, dir_fd=parent)
        finally:
            os.close(parent)

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it; no error when it is there."""
        os.close(self._descend(parts_of(path), create=True))

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield path and size of every regular file below `folder`, sorted by path.

        Raises:
            UnsafePath: folders are nested more than MAX_DEPTH deep.
        """
        try:
            top = self._descend(parts_of(folder))
        except (MissingFile, UnsafePath):
            return
        try:
            yield from _walk(top, folder)
        finally:
            os.close(top)

    def _create(self, path: str, mode: int) -> BinaryIO:
        *folders, name = parts_of(path)
        parent = self._descend(folders, create=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(name, flags, mode, dir_fd=parent), "wb")
        finally:
            os.close(parent)

    def _remove(self, path: str) -> None:
        *folders, name = parts_of(path)
        parent = self._descend(folders, create=True)
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        finally:
            os.close(parent)

    def _descend(self, names: list[str], *, create: bool = False) -> int:
        """Return a descriptor of the folder below; the caller closes it."""
        here = os.dup(self._root)
        for name in names:
            try:
                if create:
                    _make(name, here)
                below = os.open(name, _FOLDER, dir_fd=here)
            except OSError as error:
                raise _explain(error) from error
            finally:
                os.close(here)
            here = below
        return here


def parts_of(path: str) -> list[str]:
    """Split a relative path into names.

    Raises:
        UnsafePath: it is absolute, empty, or has a part such as `..`.
    """
    names = [name for name in path.split("/") if name != "."]
    if path.startswith("/"):
        raise UnsafePath("is an absolute path; name a file in the working directory")
    if not names or any(name in {"", ".."} or "\0" in name for name in names):
        raise UnsafePath("leaves the working directory")
    return names


def _walk(folder: int, prefix: str) -> Iterator[tuple[str, int]]:
    if prefix.count("/") > MAX_DEPTH:
        raise UnsafePath(f"is nested more than {MAX_DEPTH} folders deep")
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{prefix}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_below(folder, entry.name, path)
        elif entry.is_file(follow_symlinks=False):
            yield path, os.stat(entry.name, dir_fd=folder, follow_symlinks=False).st_size


def _walk_below(folder: int, name: str, path: str) -> Iterator[tuple[str, int]]:
    try:
        below = os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise _explain(error) from error
    try:
        yield from _walk(below, path)
    finally:
        os.close(below)


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return


def _explain(error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError):
        return MissingFile("is not there")
    if isinstance(error, NotADirectoryError | IsADirectoryError):
        return UnsafePath("leads through something that is no folder")
    return UnsafePath("leads through a link or cannot be opened")  # ELOOP, ENXIO, EACCES
