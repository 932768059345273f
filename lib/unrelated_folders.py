"""A hint to the file system: what lies in this folder does not belong together.

ext4 puts a new folder and its files near its parent, and gives an inode that was
freed away again only after a while: where hundreds of small files come and go
each second, it searches for the next free one past all of those. Below a folder with the attribute T
(chattr(1), "top of directory hierarchies") each folder gets a place of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from pathlib import Path
from typing import Final

# linux/fs.h; of architectures with other numbers, which have no such call then.
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOP_OF_HIERARCHIES: Final = 0x00020000
_BUFFER_BYTES: Final = 8  # a long by its number; the kernel uses an int of it


def spread_folders_below(folder: Path) -> None:
    """Have new folders in `folder` spread; nothing changes where that is not known."""
    if sys.platform != "linux":
        return
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not ext4, or not for us to say
            flags = _flags(file) | _TOP_OF_HIERARCHIES
            fcntl.ioctl(file, _SET_FLAGS, flags.to_bytes(_BUFFER_BYTES, sys.byteorder))
    finally:
        os.close(file)


def are_spread(folder: Path) -> bool:
    """Whether the hint is set. Raises OSError where the file system has no flags."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(_flags(file) & _TOP_OF_HIERARCHIES)
    finally:
        os.close(file)


def _flags(file: int) -> int:
    """Return the inode flags of an open file. Raises OSError where it has none."""
    found = fcntl.ioctl(file, _GET_FLAGS, bytes(_BUFFER_BYTES))
    return int.from_bytes(found[:4], sys.byteorder)
