"""`.git/floom/history`: which commits changed which worker, kept beside the repository.

A cache: it holds nothing that git does not, so it is never forced to disk, and a
file that is damaged or of another history is thrown away. Lines are appended,
`<commit> <worker id>` for each change and `= <commit>` once everything up to
that commit is there; what follows the last such line was cut short.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lib.workspace.durable import replace_file, write_all

ID_BYTES: Final = 20
_HEADER: Final = b"floom-history 1\n"
_LINES: Final = re.compile(rb"(?:[0-9a-f]{40} [a-z0-9_-]{1,64}\n|= [0-9a-f]{40}\n)*\Z")
_MARK: Final = b"\n= "


@dataclass
class Versions:
    """Commits by worker, oldest first, up to a tip.

    Attributes:
        tip: The commit up to which they are known; None: nothing is.
        commits: By worker id, 20 bytes a commit.
    """

    tip: str | None = None
    commits: dict[str, bytearray] = field(default_factory=dict)

    def add(self, commit: str, worker_ids: Iterable[str]) -> None:
        """Record that a commit, newer than all before, changed these workers."""
        for worker_id in worker_ids:
            self.commits.setdefault(worker_id, bytearray()).extend(bytes.fromhex(commit))

    def count(self, worker_id: str) -> int:
        """Return how many commits changed a worker."""
        return len(self.commits.get(worker_id, b"")) // ID_BYTES

    def at(self, worker_id: str, index: int) -> str:
        """Return one of them; 0 is the oldest."""
        start = index * ID_BYTES
        return self.commits[worker_id][start : start + ID_BYTES].hex()


class HistoryFile:
    """Keeps `Versions` between the lives of a process. The caller holds its lock.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = -1  # as this process knows it; -1: it knows nothing of the file
        self._usable = True

    def load_if_changed(self) -> Versions | None:
        """Return what the file holds if another process, or another life, wrote it.

        A missing or damaged file holds nothing; one that could not be written
        is not asked again.
        """
        if not self._usable:
            return None
        try:
            if self._path.stat().st_size == self._size:
                return None
            data = self._path.read_bytes()
        except OSError:
            data = b""
        versions, self._size = _parse(data)
        return versions

    def append(self, changes: Iterable[tuple[str, Iterable[str]]], tip: str) -> None:
        """Add changes, oldest first, up to `tip`. A failure costs no more than the file."""
        lines = [f"{commit} {name}\n" for commit, names in changes for name in names]
        data = "".join([*lines, f"= {tip}\n"]).encode()
        if not self._usable:
            return
        try:
            if self._size < len(_HEADER):
                replace_file(self._path, _HEADER + data, durable=False)
                self._size = len(_HEADER) + len(data)
            else:
                self._extend(data)
        except OSError:
            self._usable = False
            self.forget()

    def forget(self) -> None:
        """Throw the file away; the next life begins anew."""
        self._size = -1
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _extend(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, self._size)  # what a killed writer left goes
            os.lseek(descriptor, 0, os.SEEK_END)
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        self._size += len(data)


def _parse(data: bytes) -> tuple[Versions, int]:
    """Return what the bytes say, and how many of them count."""
    end = data.find(b"\n", data.rfind(_MARK) + 1) + 1 if _MARK in data else 0
    body = data[len(_HEADER) : end]
    if not data.startswith(_HEADER) or not body or not _LINES.match(body):
        return Versions(), -1
    versions = Versions()
    for line in body.decode("ascii").splitlines():
        left, _, right = line.partition(" ")
        if left == "=":
            versions.tip = right
        else:
            versions.add(left, (right,))
    return versions, end
