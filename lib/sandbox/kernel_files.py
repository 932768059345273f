"""Small files of /proc and of control groups, which every run reads and writes.

Not by `open`, which asks the kernel four things about a file before it reads it.
"""

from __future__ import annotations

import os
from typing import Final

_READ_BYTES: Final = 64 * 1024


def read(path: str) -> bytes:
    """Return what one read gives: all of a file that is shorter than a page."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)


def write(path: str, text: str) -> None:
    """Write to a file that is there, all at once: the kernel takes it as one order."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
