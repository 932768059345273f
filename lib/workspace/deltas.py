"""Deltas between two versions of a tree: one changed stretch, copied ends.

Git's format (Documentation/gitformat-pack, "Deltified representation"). A
general search for matches would find no more: an edit moves one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

_MAX_COPY: Final = 0xFFFFFF  # size field of three bytes
_MAX_INSERT: Final = 0x7F


def make_delta(base: bytes, target: bytes) -> bytes:
    """Return instructions that turn `base` into `target`."""
    shortest = min(len(base), len(target))
    head = _common(shortest, lambda size: base[:size] == target[:size])
    tail = _common(
        shortest - head, lambda size: base[len(base) - size :] == target[len(target) - size :]
    )
    return b"".join(
        (
            _varint(len(base)),
            _varint(len(target)),
            *_copies(0, head),
            *_inserts(target[head : len(target) - tail]),
            *_copies(len(base) - tail, tail),
        )
    )


def _common(limit: int, equal: Callable[[int], bool]) -> int:
    """Return the longest size up to `limit` that is `equal`, by halving."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if equal(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _copies(offset: int, size: int) -> Iterator[bytes]:
    while size:
        part = min(size, _MAX_COPY)
        yield _copy(offset, part)
        offset += part
        size -= part


def _copy(offset: int, size: int) -> bytes:
    command, operands = 0x80, bytearray()
    for bit, byte in enumerate(offset.to_bytes(4, "little") + size.to_bytes(3, "little")):
        if byte:
            command |= 1 << bit
            operands.append(byte)
    return bytes([command]) + bytes(operands)


def _inserts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _MAX_INSERT):
        part = data[start : start + _MAX_INSERT]
        yield bytes([len(part)]) + part
