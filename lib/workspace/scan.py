"""Looks at the folder on disk: which files it holds, as git would name them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lib.workspace.deny_list import is_denied
from lib.workspace.folder import Folder, git_mode, kind_of, read_at
from lib.workspace.git_paths import MAX_DEPTH, is_under, refusal, shown
from lib.workspace.stat_cache import StatCache
from lib.workspace.tree_objects import TreeEntry, object_id

SCOPE: Final = ("workers", "contexts", ".floom/issues", "workspace.md")
MAX_UNIT_BYTES: Final = 28 * 1024 * 1024  # a worker, a context: the API's cap for files


@dataclass(frozen=True)
class Skipped:
    """A path that is not taken over, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """What the folder holds within the scope.

    Attributes:
        files: Entries by path, with the blob's id; the repository need not
            have the blob.
        skipped: What is there but was left out, with paths fit to be shown.
        unknown: The same paths as they are. Nothing may be concluded about
            them, nor about anything below them.
    """

    files: dict[str, TreeEntry]
    skipped: tuple[Skipped, ...]
    unknown: frozenset[str]

    def is_unknown(self, path: str) -> bool:
        """Return whether the scan cannot say what is at `path`."""
        parts = path.split("/")
        return any("/".join(parts[:count]) in self.unknown for count in range(1, len(parts) + 1))


@dataclass(frozen=True)
class _Found:
    path: str
    name: str
    parent: str
    status: os.stat_result


class Scanner:
    """Scans one folder, again and again. Not shared between threads."""

    def __init__(self, folder: Folder, cache: StatCache) -> None:
        self._folder = folder
        self._cache = cache
        self._skipped: dict[str, str] = {}

    def scan(self) -> Scan:
        """Look at every path of the scope; files that vanish meanwhile are absent.

        Raises:
            OSError: the root itself cannot be read.
        """
        self._skipped = {}
        self._cache.begin()
        with self._folder.opened():
            pass  # an unreadable root is an error, and not an empty workspace
        found = [each for top in SCOPE for each in self._look(top)]
        files = dict(self._identified(self._within_cap(found)))
        self._cache.end()
        skipped = (Skipped(shown(path), reason) for path, reason in sorted(self._skipped.items()))
        return Scan(files, tuple(skipped), frozenset(self._skipped))

    def _look(self, path: str) -> Iterator[_Found]:
        parent, _, name = path.rpartition("/")
        try:
            with self._folder.opened(parent) as descriptor:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as ex:
            self._skip(path, ex.strerror or "cannot be read")
            return
        yield from self._classify(_Found(path, name, parent, status))

    def _classify(self, found: _Found) -> Iterator[_Found]:
        reason = refusal(found.path) or is_denied(found.name)
        mode = found.status.st_mode
        if reason is not None:
            self._skip(found.path, reason)
        elif stat.S_ISDIR(mode):
            yield from self._list(found.path)
        elif stat.S_ISREG(mode):
            yield found
        else:
            self._skip(found.path, kind_of(mode))

    def _list(self, folder: str) -> Iterator[_Found]:
        if folder.count("/") >= MAX_DEPTH:
            self._skip(folder, f"lies deeper than {MAX_DEPTH} folders")
            return
        try:
            below = self._entries(folder)
        except FileNotFoundError:
            return
        except OSError as ex:
            self._skip(folder, ex.strerror or "cannot be read")
            return
        for found in below:
            yield from self._classify(found)

    def _entries(self, folder: str) -> list[_Found]:
        with self._folder.opened(folder) as descriptor, os.scandir(descriptor) as listing:
            return [
                _Found(f"{folder}/{entry.name}", entry.name, folder, status)
                for entry in sorted(listing, key=lambda entry: entry.name)
                if (status := _status(entry)) is not None
            ]

    def _within_cap(self, found: list[_Found]) -> Iterator[_Found]:
        """Leave out the largest files of a worker or context that is over the cap."""
        totals: dict[str, int] = {}
        too_large = set()
        for each in sorted(found, key=lambda each: (each.status.st_size, each.path)):
            unit = "/".join(each.path.split("/")[:2])
            totals[unit] = totals.get(unit, 0) + each.status.st_size
            if each.path.startswith(("workers/", "contexts/")) and totals[unit] > MAX_UNIT_BYTES:
                too_large.add(each.path)
                self._skip(each.path, f"{unit} holds more than {MAX_UNIT_BYTES // 2**20} MiB")
        return (each for each in found if each.path not in too_large)

    def _identified(self, found: Iterator[_Found]) -> Iterator[tuple[str, TreeEntry]]:
        for each in found:
            sha = self._cache.find(each.path, each.status) or self._hash(each)
            if sha is not None:
                yield each.path, TreeEntry(git_mode(each.status.st_mode), sha)

    def _hash(self, found: _Found) -> str | None:
        try:
            with self._folder.opened(found.parent) as parent:
                data, _ = read_at(parent, found.name, limit_bytes=MAX_UNIT_BYTES)
        except FileNotFoundError:
            return None
        except OSError as ex:
            self._skip(found.path, ex.strerror or "cannot be read")
            return None
        sha = object_id("blob", data)
        self._cache.put(found.path, found.status, sha)
        return sha

    def _skip(self, path: str, reason: str) -> None:
        self._skipped[path] = reason


def is_in_scope(path: str) -> bool:
    """Return whether reload looks at `path` at all."""
    return any(is_under(path, top) for top in SCOPE)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
