"""Caches of what was read; contents never change, so nothing is ever stale."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from lib.workspace.tree_objects import Kind, TreeEntry

MAX_CACHED_OBJECT_BYTES: Final = 1024 * 1024


class ByteCache:
    """Least recently used contents up to a number of bytes; any thread may call."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._items: OrderedDict[str, tuple[Kind, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, sha: str) -> tuple[Kind, bytes] | None:
        """Return kind and content, and count it as used."""
        with self._lock:
            found = self._items.get(sha)
            if found is not None:
                self._items.move_to_end(sha)
            return found

    def put(self, sha: str, kind: Kind, data: bytes) -> None:
        """Keep a content; large ones are not worth their room."""
        if len(data) > MAX_CACHED_OBJECT_BYTES:
            return
        with self._lock:
            if sha in self._items:
                return
            self._items[sha] = kind, data
            self._held += len(data)
            while self._held > self._limit:
                _, (_, old) = self._items.popitem(last=False)
                self._held -= len(old)


class TreeCache:
    """Least recently used parsed trees, up to a number of entries; any thread may call."""

    def __init__(self, limit_entries: int) -> None:
        self._limit = limit_entries
        self._held = 0
        self._items: OrderedDict[str, Mapping[bytes, TreeEntry]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, sha: str) -> Mapping[bytes, TreeEntry] | None:
        """Return a tree's entries, and count it as used."""
        with self._lock:
            found = self._items.get(sha)
            if found is not None:
                self._items.move_to_end(sha)
            return found

    def put(self, sha: str, entries: Mapping[bytes, TreeEntry]) -> None:
        """Keep a parsed tree; nobody may change it from here on."""
        with self._lock:
            if sha in self._items:
                return
            self._items[sha] = entries
            self._held += len(entries)
            while self._held > self._limit:
                self._held -= len(self._items.popitem(last=False)[1])
