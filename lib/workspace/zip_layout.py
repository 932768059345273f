"""Where each byte of a zip belongs: to an entry, to the directory, or to its end.

A zip describes each entry twice, before its bytes and in the directory at the end,
and some programs believe the one, some the other. Bytes that neither describes are
skipped by both. Here both must say the same, and together tell of every byte, so
that there is one way to read what is accepted. The standard library's reader knows
the directory only, which is why it is not used. The format is that of PKWARE's
APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from lib.errors import MalformedRequest

STORED: Final = 0
DEFLATED: Final = 8

_LOCAL: Final = Struct("<4s5H3L2H")
_CENTRAL: Final = Struct("<4s6H3L5H2L")
_END: Final = Struct("<4s4H2LH")
_END64: Final = Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = Struct("<4sLQL")
_FIELD: Final = Struct("<2H")
_DESCRIPTOR: Final = Struct("<3L")
_DESCRIPTOR64: Final = Struct("<L2Q")
_DESCRIPTOR_MARK: Final = b"PK\7\x08"  # which may be left out
_MAX_16: Final = 0xFFFF
_MAX_32: Final = 0xFFFF_FFFF
_ZIP64: Final = 0x0001  # kinds of extra fields
_UNICODE_PATH: Final = 0x7075
_UNICODE_PATH_HEAD_BYTES: Final = 5  # version and CRC
_SIZES_FOLLOW: Final = 0x8  # flag: sizes and CRC come after the bytes
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_KNOWN_FLAGS: Final = 0x2 | 0x4 | _SIZES_FOLLOW | 0x800  # two say how hard it was packed


class BadBundle(MalformedRequest):
    """The bytes are no zip, or one that is not to be trusted."""

    code = "bad_bundle"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as both of its headers say.

    Attributes:
        name: As it is written, UTF-8; a folder's ends with `/`.
        mode: Of Unix; 0 where the zip was made elsewhere.
        method: STORED or DEFLATED.
        crc: CRC-32 of what it unpacks to.
        size: Bytes that it unpacks to.
        header_at: Where its local header begins.
    """

    name: str
    mode: int
    flags: int
    method: int
    crc: int
    size: int
    packed_size: int
    header_at: int

    @property
    def is_folder(self) -> bool:
        """Whether it is an entry for a folder."""
        return self.name.endswith("/")

    def unpacked(self, packed: memoryview) -> bytes:
        """Return its content.

        Never more than `size` bytes are unpacked, whatever is in them.

        Raises:
            BadBundle: it has another size or CRC than it says, or packed bytes
                that it does not need.
        """
        data = bytes(packed) if self.method == STORED else self._inflated(packed)
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise _damaged(f"{self.name!r:.200} is not what its header says")
        return data

    def _inflated(self, packed: memoryview) -> bytes:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = engine.decompress(packed, self.size + 1)
        except zlib.error as ex:
            raise _damaged(f"{self.name!r:.200} cannot be unpacked") from ex
        if not engine.eof or engine.unused_data:
            raise _damaged(f"{self.name!r:.200} is not what its header says")
        return data


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the directory is, and how many entries it should have."""

    start: int
    end: int
    count: int


def lay_out(data: bytes, *, max_entries: int) -> Iterator[tuple[Entry, memoryview]]:
    """Yield each entry of a zip with its packed bytes, in the order of the zip.

    Raises:
        BadBundle: a byte belongs to nothing, or to two things; the two headers
            of an entry differ; there are more entries than `max_entries`; an
            entry is encrypted or packed by a method that is not known.
    """
    directory = _directory(data)
    if directory.count > max_entries:
        raise BadBundle(f"The zip has more than {max_entries:,} entries.")
    entries = sorted(_listed(data, directory), key=lambda entry: entry.header_at)
    starts = [*(entry.header_at for entry in entries), directory.start]
    if starts[0] != 0:
        raise BadBundle("The zip has bytes before its first entry; pack it anew.")
    for entry, following in zip(entries, starts[1:], strict=True):
        start = _check_local(data, entry)
        end = start + entry.packed_size
        if end > following:
            raise BadBundle("Entries of the zip overlap.")
        _check_tail(data[end:following], entry)
        yield entry, memoryview(data)[start:end]


def _directory(data: bytes) -> _Directory:
    """Find the directory by the end record, of which there must be one only."""
    at = _end(data)
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(data, at)
    end = at
    if at >= _LOCATOR64.size and data.startswith(b"PK\6\7", at - _LOCATOR64.size):
        end, wide = _wide_end(data, at - _LOCATOR64.size)
        short = (disk, first_disk, here, count, size, start)
        maxima = (_MAX_16,) * 4 + (_MAX_32,) * 2
        if any(a not in (b, most) for a, b, most in zip(short, wide, maxima, strict=True)):
            raise _damaged("its two ends differ")
        disk, first_disk, here, count, size, start = wide
    if disk or first_disk or here != count or start + size != end:
        raise _damaged("its directory is not where its end says")
    return _Directory(start, end, count)


def _end(data: bytes) -> int:
    """Return where the end record is: one whose comment reaches to the very end."""
    marks = [*_marks(data)]
    fitting = [at for at in marks if at + _END.size + _comment_size(data, at) == len(data)]
    if not fitting:
        raise _damaged("it does not end as a zip does")
    if fitting != marks[:1]:
        raise BadBundle("The zip can be read in two ways: it has two ends.")
    return fitting[0]


def _marks(data: bytes) -> Iterator[int]:
    """Yield where an end record may be, the last one first, as most programs look for it."""
    lowest = max(0, len(data) - _END.size - _MAX_16)
    at = len(data)
    while (at := data.rfind(b"PK\5\6", lowest, at)) >= 0:
        yield at


def _comment_size(data: bytes, end_at: int) -> int:
    return int.from_bytes(data[end_at + _END.size - 2 : end_at + _END.size], "little")


def _wide_end(data: bytes, locator_at: int) -> tuple[int, tuple[int, ...]]:
    """Return where the zip64 end record is, and what it says as the short one does."""
    _, disk, at, disks = _LOCATOR64.unpack_from(data, locator_at)
    if disk or disks != 1 or at + _END64.size != locator_at:
        raise _damaged("its end is not where it says")
    mark, size, _, _, *said = _END64.unpack_from(data, at)
    if mark != b"PK\6\6" or size != _END64.size - 12:
        raise _damaged("its end is not where it says")
    return at, tuple(said)


def _listed(data: bytes, directory: _Directory) -> Iterator[Entry]:
    """Yield the entries of the directory, which they must fill."""
    at = directory.start
    for _ in range(directory.count):
        if at + _CENTRAL.size > directory.end or not data.startswith(b"PK\1\2", at):
            raise _damaged("its directory ends too early")
        entry, at = _entry(data, at)
        yield entry
    if at != directory.end:
        raise _damaged("its directory has another size than it says")


def _entry(data: bytes, at: int) -> tuple[Entry, int]:
    """Return the entry of the directory at `at`, and where it ends."""
    (
        _, _, _, flags, method, _, _, crc, packed_size, size,
        name_size, extra_size, comment_size, disk, _, attributes, header_at,
    ) = _CENTRAL.unpack_from(data, at)  # fmt: skip
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_size
    raw, extra = data[name_at:extra_at], data[extra_at : extra_at + extra_size]
    size, packed_size, header_at = _wide((size, packed_size, header_at), _fields(extra, raw))
    name = _name(raw)
    if disk:
        raise _damaged("a part of it is elsewhere")
    if flags & _ENCRYPTED:
        raise BadBundle(f"{name!r:.200} in the zip is encrypted.")
    if flags & ~_KNOWN_FLAGS:
        raise BadBundle("The zip uses a feature that is not understood; pack it anew.")
    if method not in {STORED, DEFLATED}:
        raise BadBundle(f"{name!r:.200} in the zip is packed by a method other than deflate.")
    entry = Entry(name, attributes >> 16, flags, method, crc, size, packed_size, header_at)
    return entry, extra_at + extra_size + comment_size


def _check_local(data: bytes, entry: Entry) -> int:
    """Compare an entry with its local header and return where its bytes begin."""
    at = entry.header_at
    if at + _LOCAL.size > len(data) or not data.startswith(b"PK\3\4", at):
        raise _damaged(f"{entry.name!r:.200} is not where its directory says")
    _, _, flags, method, _, _, crc, packed_size, size, name_size, extra_size = _LOCAL.unpack_from(
        data, at
    )
    extra_at = at + _LOCAL.size + name_size
    raw = data[at + _LOCAL.size : extra_at]
    fields = _fields(data[extra_at : extra_at + extra_size], raw)
    found = (crc, *_wide((size, packed_size), fields))
    said = (entry.crc, entry.size, entry.packed_size)
    may_be_zero = flags & _SIZES_FOLLOW
    if (flags, method, raw) != (entry.flags, entry.method, entry.name.encode()) or any(
        a != b and not (may_be_zero and a == 0) for a, b in zip(found, said, strict=True)
    ):
        raise _damaged(f"the two headers of {entry.name!r:.200} differ")
    start: int = extra_at + extra_size
    return start


def _check_tail(tail: bytes, entry: Entry) -> None:
    """Refuse bytes between an entry and the next thing, but for the sizes that may follow."""
    allowed = {b""}
    if entry.flags & _SIZES_FOLLOW:
        said = (entry.crc, entry.packed_size, entry.size)
        plain = {_DESCRIPTOR.pack(*said), _DESCRIPTOR64.pack(*said)}
        allowed = plain | {_DESCRIPTOR_MARK + each for each in plain}
    if tail not in allowed:
        raise _damaged(f"after {entry.name!r:.200} come bytes that do not belong to it")


def _name(raw: bytes) -> str:
    try:  # zip of Unix writes UTF-8 without the flag that says so
        return raw.decode()
    except UnicodeDecodeError as ex:
        raise BadBundle(f"The name {raw.decode('cp437')!r:.200} in the zip is not UTF-8.") from ex


def _fields(extra: bytes, name: bytes) -> bytes:
    """Return the zip64 field among extra fields, empty without one.

    Others tell of times and owners, except one that gives the entry another name.
    """
    wide, at, seen = b"", 0, False
    while at + _FIELD.size <= len(extra):
        kind, size = _FIELD.unpack_from(extra, at)
        content = extra[at + _FIELD.size : at + _FIELD.size + size]
        at += _FIELD.size + size
        if at > len(extra) or (kind == _ZIP64 and seen):
            raise _damaged("extra fields of it cannot be read")
        if kind == _ZIP64:
            wide, seen = content, True
        if kind == _UNICODE_PATH and content[_UNICODE_PATH_HEAD_BYTES:] != name:
            raise BadBundle(f"{name.decode('cp437')!r:.200} in the zip has two names.")
    return wide


def _wide(values: Sequence[int], field: bytes) -> list[int]:
    """Return values, with those from the zip64 field that had no room where they belong."""
    found, at = [], 0
    for value in values:
        if value != _MAX_32:
            found.append(value)
            continue
        found.append(int.from_bytes(field[at : at + 8], "little"))
        at += 8
    if at > len(field) or max(found) >= _MAX_32:
        raise _damaged("a size or place in it is beyond its end")
    return found


def _damaged(what: str) -> BadBundle:
    return BadBundle(f"The zip is damaged: {what}.")
