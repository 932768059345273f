"""Merges small packs by copying their raw entries, so that reads stay fast.

Reads slow down with each pack (18 us with one, 2,284 us with a thousand). Packs
are merged as git's geometric repacking does: the smallest ones, so that each
that stays is at least twice as large as all smaller ones together; each byte is
copied a logarithmic number of times.
"""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.pack import load_pack_index

from lib.workspace.locks import exclusive_if_free
from lib.workspace.packs import HEADER_BYTES, Pack, assemble, remove_unfinished
from lib.workspace.repository import Repository

MERGE_AT: Final = 32  # packs
MAX_SOURCE_BYTES: Final = 256 * 1024 * 1024  # a larger pack stays as it is

_OFS_DELTA: Final = 6
_CHECKSUM_BYTES: Final = 20
_FACTOR: Final = 2
_SUFFIXES: Final = (".idx", ".pack", ".rev", ".bitmap")  # git deletes in this order


@dataclass(frozen=True)
class _Source:
    path: Path
    size: int


def merge_if_due(repository: Repository) -> bool:
    """Merge small packs once there are `MERGE_AT`; returns whether it did.

    One process at a time; readers and writers go on meanwhile. The merged pack
    is on disk before the old ones go: who still has the old list reads it again.

    Raises:
        OSError: the merged pack cannot be written; the old ones stay.
    """
    if sum(1 for _ in repository.packs.glob("pack-*.pack")) < MERGE_AT:
        return False
    with exclusive_if_free(repository.git_dir / "floom/merge.lock") as free:
        return free and _merge_smallest(repository)


def _merge_smallest(repository: Repository) -> bool:
    scratch = repository.git_dir / "floom/merge"
    scratch.mkdir(exist_ok=True)
    remove_unfinished(repository.packs, scratch)
    copied = {
        source.path: entries
        for source in _to_merge(_sources(repository.packs))
        if (entries := _raw_entries(source.path)) is not None
    }
    if len(copied) < _FACTOR:
        return False
    merged = _merge(list(copied.values()))
    repository.syncer.sync(merged.stage(scratch))
    merged.link(scratch, repository.packs)
    repository.syncer.sync([repository.packs])
    for path in copied:
        if path.stem != merged.name:
            _remove(path)
    return True


def _sources(folder: Path) -> list[_Source]:
    """List packs that may be merged: complete, not kept by anybody, not too large."""
    found = (
        _Source(path, path.stat().st_size)
        for path in folder.glob("pack-*.pack")
        if path.with_suffix(".idx").exists() and not path.with_suffix(".keep").exists()
    )
    return sorted(
        (source for source in found if source.size <= MAX_SOURCE_BYTES),
        key=lambda source: (source.size, source.path.name),
    )


def _to_merge(sources: list[_Source]) -> list[_Source]:
    """Return the smallest packs whose merge leaves a geometric progression."""
    smaller = sum(source.size for source in sources)
    for count in range(len(sources), 0, -1):
        smaller -= sources[count - 1].size
        if sources[count - 1].size < _FACTOR * smaller:
            return sources[:count]
    return []


def _merge(packs: list[list[tuple[bytes, bytes]]]) -> Pack:
    """Return one pack of all entries, each id once, from the first pack that has it.

    A delta names its base by id and finds it in its own pack or an earlier one,
    so no chain can close to a circle.
    """
    body: list[bytes] = []
    places: dict[bytes, tuple[int, int]] = {}
    size = HEADER_BYTES
    for sha, raw in (entry for entries in packs for entry in entries):
        if sha not in places:
            places[sha] = size, zlib.crc32(raw)
            body.append(raw)
            size += len(raw)
    return assemble(body, [(sha, *place) for sha, place in places.items()])


def _raw_entries(path: Path) -> list[tuple[bytes, bytes]] | None:
    """Return ids and raw entries in pack order, or None where they cannot be copied.

    Deltas that name their base by offset (stock git's) would point elsewhere,
    and an entry that fails its checksum is left for `git fsck` to be seen.
    """
    data = path.read_bytes()
    with closing(load_pack_index(path.with_suffix(".idx"), DEFAULT_OBJECT_FORMAT)) as index:
        entries = sorted(index.iterentries(), key=lambda entry: entry[1])
    ends = [offset for _, offset, _ in entries[1:]] + [len(data) - _CHECKSUM_BYTES]
    copied = [
        (bytes(sha), data[start:end], crc)
        for (sha, start, crc), end in zip(entries, ends, strict=True)
    ]
    if any(raw[0] >> 4 & 7 == _OFS_DELTA or zlib.crc32(raw) != crc for _, raw, crc in copied):
        return None
    return [(sha, raw) for sha, raw, _ in copied]


def _remove(pack: Path) -> None:
    for suffix in _SUFFIXES:
        pack.with_suffix(suffix).unlink(missing_ok=True)
