"""Files that survive a power cut: written, forced to disk, then named."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

SYNC_THREADS: Final = 2


def write_file(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Write a file that must not be there yet, and force it to disk.

    Raises:
        OSError: as `os.open` and `os.write` do; a partial file is removed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path` so that a reader sees the old file or the new one."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_file(scratch, data, durable=durable)
    scratch.replace(path)


class Syncer:
    """Forces several files to disk at once: a journal takes them in one commit.

    Three files one after another cost three times one; together about once.

    Args:
        enabled: Off, nothing is forced: something else keeps the data.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="workspace-fsync")

    def close(self) -> None:
        """End the threads; idempotent."""
        self._pool.shutdown()

    def sync(self, paths: Iterable[Path]) -> None:
        """Force files or folders to disk.

        Raises:
            OSError: one of them could not be.
        """
        first, *others = [*paths]
        waiting = [self.begin(path) for path in others]
        if self._enabled:
            fsync_path(first)
        for each in waiting:
            each.result()

    def begin(self, path: Path) -> Future[None]:
        """Start to force a file or folder to disk; the result raises OSError."""
        return self._pool.submit(fsync_path if self._enabled else _nothing, path)


def fsync_path(path: Path) -> None:
    """Force a file's content, or a folder's names, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nothing(path: Path) -> None:
    del path


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a single call may take fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
