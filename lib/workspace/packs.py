"""Self-contained packs: built in memory, put in place so that a kill leaves none half.

The files first lie in a scratch folder of the same file system and are linked
into `objects/pack`, pack before index as git expects. The scratch names go last:
whoever finds one knows that its pack may lack the index.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.workspace.deltas import make_delta
from lib.workspace.durable import write_file
from lib.workspace.tree_objects import Kind, object_id

MAX_CHAIN: Final = 32  # deltas on deltas; a reader walks all of them
COMPRESSION: Final = 1  # of zlib: a third of level 6's time for a tenth more bytes
_STORED_BYTES: Final = 100
READ_ONLY: Final = 0o444

TYPES: Final[dict[str, int]] = {"commit": 1, "tree": 2, "blob": 3}
REF_DELTA: Final = 7
HEADER_BYTES: Final = 12
_MAX_SMALL_OFFSET: Final = 2**31 - 1  # in a pack index; larger ones go to its second table


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

    def stage(self, scratch: Path) -> list[Path]:
        """Write both files into `scratch` and return their paths; not synced.

        Raises:
            OSError: they cannot be written.
        """
        paths = [scratch / f"{self.name}.pack", scratch / f"{self.name}.idx"]
        for path, data in zip(paths, (self.data, self.index), strict=True):
            write_file(path, data, mode=READ_ONLY, durable=False)
        return paths

    def link(self, scratch: Path, folder: Path) -> None:
        """Give staged files their names in `folder`, index last; the scratch names go.

        Raises:
            OSError: they cannot be linked.
        """
        for suffix in (".pack", ".idx"):
            _link(scratch / f"{self.name}{suffix}", folder / f"{self.name}{suffix}")
        self.remove(scratch)

    def remove(self, folder: Path) -> None:
        """Take both files away again, index first; idempotent."""
        for suffix in (".idx", ".pack"):
            (folder / f"{self.name}{suffix}").unlink(missing_ok=True)


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
            self._append(sha, entry_header(TYPES[kind], len(data)), data)
            return sha
        delta = make_delta(self._objects[base], data)
        self._depths[sha] = depth
        self._append(sha, entry_header(REF_DELTA, len(delta)) + bytes.fromhex(base), delta)
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
        raw = header + deflate(payload)
        self._entries.append((bytes.fromhex(sha), self._size, zlib.crc32(raw)))
        self._body.append(raw)
        self._size += len(raw)


def assemble(body: list[bytes], entries: list[tuple[bytes, int, int]]) -> Pack:
    """Return a pack of finished entries.

    Args:
        body: Raw entries, header and compressed data, in order.
        entries: For each, its id, offset in the pack and CRC-32.
    """
    head = b"PACK\0\0\0\x02" + len(body).to_bytes(4, "big")
    digest = hashlib.sha1(head)  # noqa: S324  # git's format
    for raw in body:
        digest.update(raw)
    checksum = digest.digest()
    data = b"".join((head, *body, checksum))  # once: a large pack is there twice as it is
    return Pack(f"pack-{checksum.hex()}", data, _index(sorted(entries), checksum))


def _index(entries: list[tuple[bytes, int, int]], checksum: bytes) -> bytes:
    """Return a version 2 index; dulwich's writer takes a fifth of a small commit's time."""
    names = [name for name, _, _ in entries]
    fanout = [bisect_right(names, bytes([first]) + b"\xff" * 20) for first in range(256)]
    offsets = [offset for _, offset, _ in entries]
    large = [offset for offset in offsets if offset > _MAX_SMALL_OFFSET]
    places = iter(range(len(large)))
    small = [
        offset if offset <= _MAX_SMALL_OFFSET else _MAX_SMALL_OFFSET + 1 + next(places)
        for offset in offsets
    ]
    body = b"".join(
        (
            b"\xfftOc\0\0\0\x02",
            struct.pack(">256L", *fanout),
            *names,
            struct.pack(f">{len(entries)}L", *(crc for _, _, crc in entries)),
            struct.pack(f">{len(small)}L", *small),
            struct.pack(f">{len(large)}Q", *large),
            checksum,
        )
    )
    return body + hashlib.sha1(body).digest()  # noqa: S324  # git's format


def deflate(data: bytes) -> bytes:
    """Return a zlib stream (RFC 1950); a short one holds its data as it is.

    Setting up a compressor takes 30 us, which small deltas do not give back.
    """
    if len(data) > _STORED_BYTES:
        return zlib.compress(data, COMPRESSION)
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF)
    return b"\x78\x01" + block + data + struct.pack(">L", zlib.adler32(data))


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


def entry_header(kind: int, size: int) -> bytes:
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
