"""Self-contained packs: built in memory, put in place so that a kill leaves none half.

The files first lie in a scratch folder of the same file system and are linked
into `objects/pack`, pack before index as git expects. The scratch names go last:
whoever finds one knows that its pack may lack the index.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from dulwich.pack import write_pack_index_v2

from lib.workspace.deltas import make_delta
from lib.workspace.durable import fsync_folder, write_file
from lib.workspace.tree_objects import Kind, object_id

MAX_CHAIN: Final = 32  # deltas on deltas; a reader walks all of them
COMPRESSION: Final = 1  # of zlib: a third of level 6's time for a tenth more bytes
READ_ONLY: Final = 0o444

_TYPES: Final[dict[str, int]] = {"commit": 1, "tree": 2, "blob": 3}
_REF_DELTA: Final = 7
HEADER_BYTES: Final = 12


@dataclass(frozen=True)
class Pack:
    """A pack and its index, in memory.

    Attributes:
        name: `pack-<40 hex>`, without extension.
        data: The pack file's bytes.
        index: The index file's bytes (version 2).
    """

    name: str
    data: bytes
    index: bytes

    def install(self, folder: Path, scratch: Path, *, durable: bool) -> None:
        """Put both files into `folder`; idempotent, and atomic for readers.

        Raises:
            OSError: they cannot be written; nothing is left behind.
        """
        paths = [(folder / f"{self.name}{suffix}", suffix) for suffix in (".pack", ".idx")]
        try:
            for (path, _), data in zip(paths, (self.data, self.index), strict=True):
                write_file(scratch / path.name, data, mode=READ_ONLY, durable=durable)
            for path, _ in paths:
                _link(scratch / path.name, path)
            if durable:
                fsync_folder(folder)
        except OSError:
            self.remove(folder)
            raise
        finally:
            self.forget(scratch)

    def remove(self, folder: Path) -> None:
        """Take both files away again, index first; idempotent."""
        for suffix in (".idx", ".pack"):
            (folder / f"{self.name}{suffix}").unlink(missing_ok=True)

    def forget(self, scratch: Path) -> None:
        """Remove the scratch names, index first; idempotent."""
        self.remove(scratch)


class PackBuilder:
    """Collects objects of one group of commits.

    Reads see what was added, so that a later commit builds on an earlier one.
    """

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._kinds: dict[str, Kind] = {}
        self._entries: list[tuple[bytes, int, int]] = []
        self._body: list[bytes] = []
        self._size = HEADER_BYTES
        self._depths: dict[str, int] = {}

    @property
    def objects(self) -> dict[str, bytes]:
        """Contents by id of all that was added."""
        return self._objects

    def add(self, kind: Kind, data: bytes, *, base: str | None = None) -> str:
        """Add an object unless it is there, and return its hex id.

        `base` is the id of an earlier version: if that is in this pack too, the
        object is stored as a delta against it.
        """
        sha = object_id(kind, data)
        if sha in self._objects:
            return sha
        self._objects[sha], self._kinds[sha] = data, kind
        depth = self._depths.get(base, 0) + 1 if base in self._objects else 0
        if base is None or not 0 < depth <= MAX_CHAIN:
            self._append(sha, _entry_header(_TYPES[kind], len(data)), data)
            return sha
        delta = make_delta(self._objects[base], data)
        self._depths[sha] = depth
        self._append(sha, _entry_header(_REF_DELTA, len(delta)) + bytes.fromhex(base), delta)
        return sha

    def contents(self) -> Iterator[tuple[str, Kind, bytes]]:
        """Yield id, kind and content of all objects, in the order they came."""
        for sha, data in self._objects.items():
            yield sha, self._kinds[sha], data

    def savepoint(self) -> int:
        """Return what `roll_back` needs to forget the objects added from here on."""
        return len(self._entries)

    def roll_back(self, savepoint: int) -> None:
        """Forget every object added since `savepoint`."""
        for name, _, _ in self._entries[savepoint:]:
            sha = name.hex()
            del self._objects[sha], self._kinds[sha]
            self._depths.pop(sha, None)
        if savepoint < len(self._entries):
            self._size = self._entries[savepoint][1]
        del self._entries[savepoint:], self._body[savepoint:]

    def build(self) -> Pack:
        """Return the pack of everything added so far."""
        return assemble(self._body, self._entries)

    def _append(self, sha: str, header: bytes, payload: bytes) -> None:
        raw = header + zlib.compress(payload, COMPRESSION)
        self._entries.append((bytes.fromhex(sha), self._size, zlib.crc32(raw)))
        self._body.append(raw)
        self._size += len(raw)


def assemble(body: list[bytes], entries: list[tuple[bytes, int, int]]) -> Pack:
    """Return a pack of finished entries.

    Args:
        body: Raw entries, header and compressed data, in order.
        entries: For each, its id, offset in the pack and CRC-32.
    """
    data = b"".join((b"PACK\0\0\0\x02", len(body).to_bytes(4, "big"), *body))
    checksum = hashlib.sha1(data).digest()  # noqa: S324  # git's format
    index = BytesIO()
    write_pack_index_v2(index, sorted(entries), checksum)
    return Pack(f"pack-{checksum.hex()}", data + checksum, index.getvalue())


def remove_unfinished(folder: Path, scratch: Path) -> None:
    """Clean `scratch`, and packs in `folder` that a kill left without index.

    A pack that got its index is whole and stays. The caller holds the lock that
    installations with this scratch folder hold.
    """
    for left in sorted(scratch.glob("pack-*"), reverse=True):
        target = folder / left.name
        if left.suffix == ".pack" and not target.with_suffix(".idx").exists():
            target.unlink(missing_ok=True)
        left.unlink(missing_ok=True)


def _entry_header(kind: int, size: int) -> bytes:
    """Encode type and size: four bits of it in the first byte, then seven each."""
    out = bytearray()
    byte, size = kind << 4 | size & 0x0F, size >> 4
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return  # a pack's name is its content: this one was there before
