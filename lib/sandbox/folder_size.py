"""How much a run's files hold, measured seldom enough not to cost much."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final

from lib.sandbox import process_tree

BLOCK_BYTES: Final = 512  # unit of st_blocks, stat(2)
ENTRY_BYTES: Final = 1024  # what a file or folder counts at least: inodes run out too
IDLE_FACTOR: Final = 20  # a measurement that took t is repeated after 20 t at the earliest,
MAX_IDLE_SECONDS: Final = 1.0  # but not much later: a slow one must not buy time
MAX_ENTRIES: Final = 200_000  # more take longer to count than anybody has a reason to make


class FolderSize:
    """Measures the space below a folder, links not followed.

    Args:
        path: The folder; what happens to its name later does not matter.
        max_entries: A folder that holds more counts as too large.
    """

    def __init__(self, path: str, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
            total = sum(self._sizes()) + nameless_bytes(pids)
        except (RecursionError, OSError):
            total = sys.maxsize
        end = time.monotonic()
        self._not_before = end + min(MAX_IDLE_SECONDS, (end - begin) * IDLE_FACTOR)
        return total

    def _sizes(self) -> Iterator[int]:
        tree = os.fwalk(".", onerror=_refuse, follow_symlinks=False, dir_fd=self._folder)
        count = 0
        for _, folders, names, folder in tree:
            count += len(folders) + len(names)
            if count > self._max_entries:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            yield ENTRY_BYTES * len(folders)
            for name in names:
                with contextlib.suppress(OSError):
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    yield max(ENTRY_BYTES, status.st_blocks * BLOCK_BYTES)


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


def _refuse(error: OSError) -> None:
    if error.errno != errno.ENOENT:  # gone since it was listed
        raise error
