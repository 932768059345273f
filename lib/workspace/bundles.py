"""Whole workers in memory: what a run's folder is filled from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from lib.workspace.object_store import ObjectSource
from lib.workspace.tree_view import TreeView

MAX_CACHED_BYTES: Final = 64 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024  # a larger one would push out all others
_FILE_OVERHEAD_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a worker.

    Attributes:
        path: Relative to the worker's folder.
        mode: Git's; one that is no regular file's must not be followed.
        data: Exact bytes; of a symlink its target, of a gitlink nothing.
    """

    path: str
    mode: int
    data: bytes


class BundleCache:
    """Reads bundles and keeps the least recently used ones out. Any thread may call."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, tuple[BundleFile, ...]]] = OrderedDict()
        self._bytes = 0

    def get(self, tree_id: str) -> tuple[BundleFile, ...]:
        """Return a tree's files by path.

        Raises:
            ObjectNotFound: there is no such tree.
        """
        with self._lock:
            kept = self._kept.get(tree_id)
            if kept is not None:
                self._kept.move_to_end(tree_id)
                return kept[1]
        files = tuple(
            BundleFile(
                path, entry.mode, self._source.read(entry.id, "blob") if entry.has_blob else b""
            )
            for path, entry in TreeView(self._source, tree_id).walk()
        )
        self._keep(tree_id, files)
        return files

    def _keep(self, tree_id: str, files: tuple[BundleFile, ...]) -> None:
        size = sum(len(file.data) + _FILE_OVERHEAD_BYTES for file in files)
        if size > MAX_BUNDLE_BYTES:
            return
        with self._lock:
            if tree_id in self._kept:
                return
            self._kept[tree_id] = size, files
            self._bytes += size
            while self._bytes > MAX_CACHED_BYTES:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._bytes -= dropped
