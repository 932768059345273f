"""How much a run's folder holds, measured seldom enough not to cost much."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from typing import Final

BLOCK_BYTES: Final = 512  # unit of st_blocks, stat(2)
ENTRY_BYTES: Final = 1024  # what a file or folder counts at least: inodes run out too
IDLE_FACTOR: Final = 20  # a measurement that took t is repeated after 20 t at the earliest


class FolderSize:
    """Measures the space below a folder, links not followed.

    Args:
        path: The folder; what happens to its name later does not matter.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._not_before = 0.0

    def due(self) -> bool:
        """Whether measuring again is cheap enough."""
        return time.monotonic() >= self._not_before

    def measure(self) -> int:
        """Return the bytes on disk now; files that vanish meanwhile count as nothing.

        A folder that cannot be looked into counts as larger than any limit: it
        can only be meant to hide something.
        """
        begin = time.monotonic()
        try:
            total = sum(self._sizes())
        except (RecursionError, OSError):
            total = sys.maxsize
        end = time.monotonic()
        self._not_before = end + (end - begin) * IDLE_FACTOR
        return total

    def _sizes(self) -> Iterator[int]:
        tree = os.fwalk(".", onerror=_refuse, follow_symlinks=False, dir_fd=self._folder)
        for _, folders, names, folder in tree:
            yield ENTRY_BYTES * len(folders)
            for name in names:
                with contextlib.suppress(OSError):
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    yield max(ENTRY_BYTES, status.st_blocks * BLOCK_BYTES)


def _refuse(error: OSError) -> None:
    if error.errno != errno.ENOENT:  # gone since it was listed
        raise error
