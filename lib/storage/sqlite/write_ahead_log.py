"""The write-ahead log of a database: every commit is appended to it, and is durable then."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 5.0  # how long to wait for another process that writes

_RETRY_SECONDS: Final = 0.01
_CHECKPOINT_PAGES: Final = 4000  # fewer, longer stops
_ROOM_BYTES: Final = 17 * 1024 * 1024  # that many pages, and what a large commit has beyond them
_LITTLE_ROOM_BYTES: Final = 8 * _ROOM_BYTES
_BLOCK: Final = bytes(256 * 1024)


def use(connection: sqlite3.Connection) -> None:
    """Have a writer's connection log ahead, each commit forced to the disk."""
    _switch_to_it(connection)
    connection.execute("PRAGMA synchronous = FULL")  # acknowledged means on disk
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute("PRAGMA journal_size_limit = 67108864")


def take_room(database: Path) -> None:
    """Give the log of an open database the size that it would grow to.

    From its first checkpoint on, the log is written over from its start. Until then each
    commit makes the file longer, and forcing that to the disk takes the file system's
    journal, with all that others have in it. SQLite knows the end of a log by the
    checksums of what is in it, whatever comes after. Where there is little room, it is left
    to what needs it.
    """
    with contextlib.suppress(OSError):  # without it commits only take longer at first
        if shutil.disk_usage(database.parent).free >= _LITTLE_ROOM_BYTES:
            _lengthen(f"{database}-wal")


def _lengthen(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        while os.fstat(log).st_size < _ROOM_BYTES:
            os.write(log, _BLOCK)  # not `fallocate`, of which the journal must hear once more
        os.fsync(log)
    finally:
        os.close(log)


def _switch_to_it(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, once for all time.

    Of several that open a new file at the same moment SQLite turns away all but
    one at once, whatever their time-out says: waiting could be a deadlock.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
