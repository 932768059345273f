"""Remembers which content a file had, by its status, so that scans need not read.

Git's rule against races: a file that was changed close to the time of the scan
could change again within the clock's tick and look the same, so what was seen
of it is not remembered.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from lib.workspace.durable import replace_file

RACY_NANOSECONDS: Final = 2_000_000_000  # the coarsest time stamps in use: FAT's
_VERSION: Final = 1

Status = tuple[int, int, int, int, int]


class StatCache:
    """Blob ids by path and status. Not shared between threads.

    Args:
        path: Where `save` keeps it. A missing or damaged file is an empty cache.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, tuple[Status, str]] = _load(path)
        self._seen: dict[str, tuple[Status, str]] = {}
        self._started_ns = 0
        self._learned = 0

    def begin(self) -> None:
        """Start a scan: what it does not see is forgotten at its end."""
        self._seen = {}
        self._started_ns = time.time_ns()  # compared with what the file system stamps

    def find(self, path: str, status: os.stat_result) -> str | None:
        """Return the blob id of a file whose status did not change."""
        known = self._known.get(path)
        if known is None or known[0] != _key(status):
            return None
        self._seen[path] = known
        return known[1]

    def put(self, path: str, status: os.stat_result, sha: str) -> None:
        """Remember a file that was read, unless it is too fresh."""
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        if newest < self._started_ns - RACY_NANOSECONDS:
            self._seen[path] = _key(status), sha
            self._learned += 1

    def end(self) -> None:
        """Finish a scan."""
        self._known, self._seen = self._seen, {}

    def save(self) -> None:
        """Keep it for the next start, if anything was learned."""
        if self._learned:
            data = {"version": _VERSION, "files": self._known}
            replace_file(self._path, json.dumps(data).encode(), durable=False)
            self._learned = 0


def _key(status: os.stat_result) -> Status:
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_mode,
    )


def _load(path: Path) -> dict[str, tuple[Status, str]]:
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != _VERSION:
            return {}
        return {name: (_status(kept), str(sha)) for name, (kept, sha) in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _status(kept: list[int]) -> Status:
    mtime, ctime, size, inode, mode = map(int, kept)
    return mtime, ctime, size, inode, mode
