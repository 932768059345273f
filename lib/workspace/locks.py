"""Locks between processes on one machine: a turnstile of two file locks.

Take Q, take M, release Q, work, release M: who waits for M holds Q, so nobody
can pass who came later. (Plain retries with jitter starved three of four
processes for a whole test.) The kernel frees both when their holder dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turnstile:
    """Lets one holder in at a time, threads and processes alike, in fair order.

    Not reentrant.

    Args:
        folder: Where the two lock files lie; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._queue = folder / "queue.lock"
        self._main = folder / "publish.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the turn and hold it, however long that takes.

        Raises:
            OSError: the lock files cannot be opened.
        """
        with _opened(self._queue) as queue, _opened(self._main) as main:
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(main, fcntl.LOCK_EX)
            fcntl.flock(queue, fcntl.LOCK_UN)
            yield

    @contextmanager
    def held_if_free(self) -> Iterator[bool]:
        """Hold the turn if nobody does or waits; yields whether it does."""
        with _opened(self._queue) as queue, _opened(self._main) as main:
            free = _try(queue) and _try(main)
            fcntl.flock(queue, fcntl.LOCK_UN)
            yield free


@contextmanager
def exclusive_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` unless another does; yields whether it does."""
    with _opened(path) as descriptor:
        yield _try(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a lock file; each opening has locks of its own, closing frees them."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
