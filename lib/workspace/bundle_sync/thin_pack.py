"""Packs of bundles: written with deltas against what the reader has, and read back whole."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from lib.workspace.bundle_sync.errors import BundleStoreUnavailable
from lib.workspace.bundle_sync.new_objects import NewObject
from lib.workspace.deltas import make_delta
from lib.workspace.object_cache import ByteCache
from lib.workspace.object_store import ObjectSource
from lib.workspace.packs import (
    HEADER_BYTES,
    MAX_CHAIN,
    REF_DELTA,
    TYPES,
    Pack,
    assemble,
    deflate,
    entry_header,
)
from lib.workspace.tree_objects import Kind, object_id

_TRAILER_BYTES: Final = 20
_KINDS: Final[Mapping[int, Kind]] = {1: "commit", 2: "tree", 3: "blob"}
_CACHE_BYTES: Final = 64 * 1024 * 1024
_FIRST_CHUNK: Final = 4096
_MAX_OBJECT_BYTES: Final = 2**40
_WORTH_IT: Final = 2  # a delta that is not this much smaller costs its reader more than it saves

ReadAny = Callable[[str], tuple[Kind, bytes]]


def write_pack(source: ObjectSource, objects: Iterable[NewObject], *, thin: bool) -> Pack:
    """Return a pack of these objects.

    Args:
        source: Has their contents, and those of their bases.
        objects: An object after its base, where that is among them.
        thin: Deltas may be against what is not in the pack, so it needs a reader
            who has that; else it stands alone.
    """
    body: list[bytes] = []
    entries: list[tuple[bytes, int, int]] = []
    depths: dict[str, int] = {}
    outside: set[str] = set()  # bases that the reader has; one may come again, as an object
    size = HEADER_BYTES
    for each in objects:
        is_base = each.sha in outside
        raw, depths[each.sha] = _entry(source, each, depths, thin=thin, whole=is_base)
        if thin and each.base is not None and each.base not in depths:
            outside.add(each.base)
        entries.append((bytes.fromhex(each.sha), size, zlib.crc32(raw)))
        body.append(raw)
        size += len(raw)
    return assemble(body, entries)


def _entry(
    source: ObjectSource, each: NewObject, depths: Mapping[str, int], *, thin: bool, whole: bool
) -> tuple[bytes, int]:
    """Return an object's entry, and how many deltas its reader walks inside the pack.

    `whole`: something in the pack is a delta against it, so it cannot be one itself.
    """
    data = source.read(each.sha, each.kind)
    depth = depths.get(each.base, 0) + 1 if each.base else 0
    if each.base and not whole and depth <= MAX_CHAIN and (thin or each.base in depths):
        delta = make_delta(source.read(each.base, each.kind), data)
        if len(delta) * _WORTH_IT < len(data):
            head = entry_header(REF_DELTA, len(delta)) + bytes.fromhex(each.base)
            return head + deflate(delta), depth
    return entry_header(TYPES[each.kind], len(data)) + deflate(data), 0


def combine(packs: Iterable[bytes], read_outside: ReadAny) -> Pack:
    """Return one pack that stands alone, of all objects of packs that build on one another.

    Args:
        packs: From the oldest; deltas name their bases by id.
        read_outside: Reads an object that is in none of them.

    Raises:
        BundleStoreUnavailable: the bytes are no packs, or a base is missing.
    """
    try:
        return _Combination(read_outside).of(packs)
    except (zlib.error, IndexError, KeyError, ApplyDeltaError, ValueError) as ex:
        raise BundleStoreUnavailable("A bundle of the store is damaged: its pack is none.") from ex


@dataclass(frozen=True, slots=True)
class _Raw:
    """An entry as it lies in a pack; `kind` or `base`, and the unpacked data or delta."""

    kind: Kind | None
    base: str | None
    payload: bytes
    bytes: bytes


@dataclass(frozen=True, slots=True)
class _Written:
    """An entry of the new pack: whole, or a delta against one written before it."""

    kind: Kind
    base: str | None
    depth: int
    bytes: bytes


class _Combination:
    def __init__(self, read_outside: ReadAny) -> None:
        self._read_outside = read_outside
        self._written: dict[str, _Written] = {}
        self._contents = ByteCache(_CACHE_BYTES)

    def of(self, packs: Iterable[bytes]) -> Pack:
        for entry in (entry for pack in packs for entry in _entries(pack)):
            kind, data = self._resolve(entry)
            sha = object_id(kind, data)
            if sha not in self._written:
                self._contents.put(sha, kind, data)
                self._written[sha] = self._entry(entry, kind, data)
        entries: list[tuple[bytes, int, int]] = []
        size = HEADER_BYTES
        for sha, written in self._written.items():
            entries.append((bytes.fromhex(sha), size, zlib.crc32(written.bytes)))
            size += len(written.bytes)
        return assemble([each.bytes for each in self._written.values()], entries)

    def _entry(self, entry: _Raw, kind: Kind, data: bytes) -> _Written:
        """Return the entry as it was, unless it needs what is outside or is too deep."""
        base = self._written.get(entry.base) if entry.base is not None else None
        if entry.base is None or (base is not None and base.depth < MAX_CHAIN):
            depth = base.depth + 1 if base is not None else 0
            return _Written(kind, entry.base, depth, entry.bytes)
        return _Written(kind, None, 0, entry_header(TYPES[kind], len(data)) + deflate(data))

    def _resolve(self, entry: _Raw) -> tuple[Kind, bytes]:
        """Return an entry's kind and content."""
        if entry.base is None:
            assert entry.kind is not None  # noqa: S101  # it is not a delta
            return entry.kind, entry.payload
        kind, data = self._read(entry.base)
        return kind, b"".join(apply_delta(data, entry.payload))

    def _read(self, sha: str) -> tuple[Kind, bytes]:
        """Return an object by way of as many deltas as it takes, MAX_CHAIN at most."""
        deltas: list[bytes] = []
        while True:
            found = self._contents.find(sha)
            written = self._written.get(sha)
            if found is None and written is None:
                found = self._read_outside(sha)
            if found is not None:
                return found[0], _applied(found[1], deltas)
            assert written is not None  # noqa: S101  # else it was found outside
            payload = _payload(written.bytes)
            if written.base is None:
                return written.kind, _applied(payload, deltas)
            deltas.append(payload)
            sha = written.base


def _payload(entry: bytes) -> bytes:
    """Return the data or delta of one entry."""
    kind, size, at = _head(entry, 0)
    return _inflate(entry, at + 20 if kind == REF_DELTA else at, size)[0]


def _applied(data: bytes, deltas: list[bytes]) -> bytes:
    for delta in reversed(deltas):
        data = b"".join(apply_delta(data, delta))
    return data


def _entries(pack: bytes) -> Iterator[_Raw]:
    """Yield a pack's entries in order; its checksum is looked at first."""
    end = len(pack) - _TRAILER_BYTES
    checksum = hashlib.sha1(memoryview(pack)[:end]).digest()  # noqa: S324  # git's format
    if pack[:8] != b"PACK\0\0\0\x02" or pack[end:] != checksum:
        raise ValueError("not a pack")
    at = HEADER_BYTES
    for _ in range(int.from_bytes(pack[8:HEADER_BYTES], "big")):
        start = at
        kind, size, at = _head(pack, at)
        base = None
        if kind == REF_DELTA:
            base, at = pack[at : at + 20].hex(), at + 20
        payload, at = _inflate(pack, at, size)
        yield _Raw(_KINDS[kind] if base is None else None, base, payload, pack[start:at])


def _head(pack: bytes, at: int) -> tuple[int, int, int]:
    """Return an entry's type and size, and where its data begins."""
    byte = pack[at]
    kind, size, shift = byte >> 4 & 7, byte & 0x0F, 4
    while byte & 0x80:
        at += 1
        byte = pack[at]
        size |= (byte & 0x7F) << shift
        shift += 7
    if size > _MAX_OBJECT_BYTES:
        raise ValueError("an entry claims to be larger than a workspace can be")
    return kind, size, at + 1


def _inflate(pack: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return data of `size` bytes, and where it ends."""
    stream, out, chunk = zlib.decompressobj(), [], _FIRST_CHUNK
    left = size + 1  # one byte more than there may be
    while not stream.eof:
        piece = pack[at : at + chunk]
        if not piece:
            raise ValueError("the pack ends early")
        out.append(stream.decompress(stream.unconsumed_tail + piece, left))
        left -= len(out[-1])
        at += len(piece)
        if left <= 0 or stream.unconsumed_tail:
            raise ValueError("an entry is longer than it says")
        chunk *= 2
    if left != 1:
        raise ValueError("an entry is shorter than it says")
    return b"".join(out), at - len(stream.unused_data)
