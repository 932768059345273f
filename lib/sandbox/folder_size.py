"""How much a run's files hold, measured seldom enough not to cost much."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterable
from typing import Final

from lib.sandbox import process_tree

BLOCK_BYTES: Final = 512  # unit of st_blocks, stat(2)
ENTRY_BYTES: Final = 1024  # what a file or folder counts at least: inodes run out too
IDLE_FACTOR: Final = 20  # a measurement that took t is repeated after 20 t at the earliest,
MAX_IDLE_SECONDS: Final = 1.0  # but not much later: a slow one must not buy time
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGED: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
MAX_ENTRIES: Final = 200_000  # more take longer to count than anybody has a reason to make


class FolderSize:
    """Measures the space below a folder, links not followed.

    Args:
        folder: Descriptor of it; closed by `close`.
        max_entries: A folder that holds more counts as too large.
    """

    def __init__(self, folder: int, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._folder = folder
        self._not_before = 0.0

    def close(self) -> None:
        """Close the folder."""
        os.close(self._folder)

    def due(self) -> bool:
        """Whether measuring again is cheap enough."""
        return time.monotonic() >= self._not_before

    def measure(self, pids: Iterable[int] = ()) -> int:
        """Return the bytes on disk now; files that vanish meanwhile count as nothing.

        Files that have no name any more count while one of these processes has
        them open. A folder that cannot be looked into counts as larger than any limit: it
        can only be meant to hide something.
        """
        begin = time.monotonic()
        try:
            total = _Sum(self._max_entries).of(self._folder) + nameless_bytes(pids)
        except (RecursionError, OSError):
            total = sys.maxsize
        end = time.monotonic()
        self._not_before = end + min(MAX_IDLE_SECONDS, (end - begin) * IDLE_FACTOR)
        return total


class _Sum:
    """Adds up, and counts what it adds up."""

    def __init__(self, max_entries: int) -> None:
        self._left = max_entries

    def of(self, folder: int) -> int:
        """Return the bytes below an open folder. Raises OSError: it cannot be looked into.

        One frame a level, so that few folders are nested too deep for it.
        """
        total = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                try:
                    if not entry.is_dir(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        total += max(ENTRY_BYTES, status.st_blocks * BLOCK_BYTES)
                        continue
                    below = os.open(entry.name, _FOLDER, dir_fd=folder)
                    try:
                        total += ENTRY_BYTES + self.of(below)
                    finally:
                        os.close(below)
                except OSError as error:
                    if error.errno not in _CHANGED:  # since it was listed
                        raise
        return total


def nameless_bytes(pids: Iterable[int]) -> int:
    """Return what files hold that these processes have open and that have no name, each once."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with (
            contextlib.suppress(OSError),
            os.scandir(f"{process_tree.folder(pid)}/fd") as descriptors,
        ):
            for entry in descriptors:
                with contextlib.suppress(OSError):
                    status = os.stat(entry.path)  # noqa: PTH116 - hot path
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                        found[status.st_dev, status.st_ino] = status.st_blocks * BLOCK_BYTES
    return sum(found.values())
