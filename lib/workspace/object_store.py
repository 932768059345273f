"""Reads objects by id, from packs and loose files, through a small cache."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from dulwich.errors import ApplyDeltaError, FileFormatException
from dulwich.object_store import DiskObjectStore

from lib.workspace.commit_objects import CommitInfo, parse_commit
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.object_cache import ByteCache, TreeCache
from lib.workspace.tree_objects import EMPTY_TREE, Kind, TreeEntry, object_id, parse_entries

CACHE_BYTES: Final = 32 * 1024 * 1024
MAX_CACHED_ENTRIES: Final = 100_000  # about 20 MB
MAX_KNOWN_SIZES: Final = 200_000
PACK_CACHE_BYTES: Final = 2 * 1024 * 1024  # dulwich's, for each pack: bases of deltas

_KINDS: Final[dict[int, Kind]] = {1: "commit", 2: "tree", 3: "blob"}


class ObjectSource(Protocol):
    """Where contents come from: the store, or a group of commits in the making."""

    def read(self, sha: str, kind: Kind) -> bytes:
        """Return an object's content.

        Raises:
            ObjectNotFound: there is none, or it is of another kind.
        """
        ...

    def tree(self, sha: str) -> Mapping[bytes, TreeEntry]:
        """Return a tree's entries by name, in no order.

        Raises:
            ObjectNotFound: there is no such tree.
        """
        ...

    def keep_tree(self, sha: str, entries: Mapping[bytes, TreeEntry]) -> None:
        """Remember what a tree parses to, which its maker knows without parsing."""
        ...


class ObjectStore:
    """The repository's objects. Any thread may read.

    A pack that went away (merged, or a person's `git gc`) makes the list of
    packs be read again; an object is missing only after that.

    Args:
        objects: The folder `.git/objects`.
    """

    def __init__(self, objects: Path) -> None:
        self._disk = DiskObjectStore(str(objects), delta_base_cache_limit=PACK_CACHE_BYTES)
        self._cache = ByteCache(CACHE_BYTES)
        self._trees = TreeCache(MAX_CACHED_ENTRIES)
        self._sizes: dict[str, int] = {}
        # dulwich closes packs on a rescan, also those another thread reads from
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every pack; idempotent."""
        with self._lock:
            self._disk.close()

    def forget_packs(self) -> None:
        """Look at the folder of packs again before the next object is read."""
        self.close()

    def read(self, sha: str, kind: Kind) -> bytes:
        """Return an object's content; the empty tree is always there.

        Raises:
            ObjectNotFound: there is none, or it is of another kind.
            WorkspaceUnavailable: its bytes cannot be read.
        """
        if sha == EMPTY_TREE and kind == "tree":
            return b""
        found = self._cache.find(sha)
        if found is None:
            found = self._load(sha)
            self._cache.put(sha, *found)
        if found[0] != kind:
            raise ObjectNotFound(f"The object {sha} is a {found[0]}, not a {kind}.")
        return found[1]

    def read_any(self, sha: str) -> tuple[Kind, bytes]:
        """Return an object's kind and content.

        Raises:
            ObjectNotFound: there is none.
            WorkspaceUnavailable: its bytes cannot be read.
        """
        return self._cache.find(sha) or self._load(sha)

    def tree(self, sha: str) -> Mapping[bytes, TreeEntry]:
        """Return a tree's entries by name.

        Raises:
            ObjectNotFound: there is no such tree.
            WorkspaceUnavailable: its bytes cannot be read.
        """
        found = self._trees.find(sha)
        if found is None:
            found = parse_entries(self.read(sha, "tree"))
            self._trees.put(sha, found)
        return found

    def keep_tree(self, sha: str, entries: Mapping[bytes, TreeEntry]) -> None:
        """Remember what a tree parses to."""
        self._trees.put(sha, entries)

    def commit(self, sha: str) -> CommitInfo:
        """Return a commit's header."""
        return parse_commit(self.read(sha, "commit"))

    def has(self, sha: str) -> bool:
        """Return whether the repository holds an object with this id."""
        try:
            return sha == EMPTY_TREE or self._cache.find(sha) is not None or bool(self._load(sha))
        except ObjectNotFound:
            return False

    def blob_size(self, sha: str) -> int:
        """Return a file's size in bytes."""
        size = self._sizes.get(sha)
        if size is None:
            size = len(self.read(sha, "blob"))
            if len(self._sizes) >= MAX_KNOWN_SIZES:
                self._sizes.clear()
            self._sizes[sha] = size
        return size

    def keep(self, contents: Iterable[tuple[str, Kind, bytes]]) -> None:
        """Put what was just written into the cache."""
        for sha, kind, data in contents:
            self._cache.put(sha, kind, data)

    def _load(self, sha: str) -> tuple[Kind, bytes]:
        try:
            name = bytes.fromhex(sha).hex().encode()
            with self._lock:
                number, data = self._disk.get_raw(name)  # type: ignore[arg-type]
            kind, content = _KINDS[number], bytes(data)
        except (KeyError, ValueError, AssertionError) as ex:
            raise ObjectNotFound(f"The workspace has no object {sha[:64]}.") from ex
        except (OSError, zlib.error, ApplyDeltaError, FileFormatException) as ex:
            raise _damaged(sha) from ex
        if object_id(kind, content) != sha:  # dulwich takes a file that ends early for whole
            raise _damaged(sha)
        return kind, content


def _damaged(sha: str) -> WorkspaceUnavailable:
    return WorkspaceUnavailable(
        f"The workspace's object {sha} cannot be read; check the disk and `git fsck`."
    )


class Overlay:
    """A store with objects on top that are not written yet."""

    def __init__(self, store: ObjectSource, added: Mapping[str, bytes]) -> None:
        self._store = store
        self._added = added
        self._trees: dict[str, Mapping[bytes, TreeEntry]] = {}

    def read(self, sha: str, kind: Kind) -> bytes:
        """Return an object's content, the added ones first."""
        data = self._added.get(sha)
        return data if data is not None else self._store.read(sha, kind)

    def tree(self, sha: str) -> Mapping[bytes, TreeEntry]:
        """Return a tree's entries by name, the added ones first."""
        if sha not in self._added:
            return self._store.tree(sha)
        if sha not in self._trees:
            self._trees[sha] = parse_entries(self._added[sha])
        return self._trees[sha]

    def keep_tree(self, sha: str, entries: Mapping[bytes, TreeEntry]) -> None:
        """Remember what an added tree parses to."""
        self._trees[sha] = entries

    def hand_over(self) -> None:
        """Give parsed trees to the store, now that it has the objects."""
        for sha, entries in self._trees.items():
            if sha in self._added:
                self._store.keep_tree(sha, entries)
