"""Reads a zip that anybody may have made: every entry is judged before one is used.

Nothing that a header says is believed: bytes are counted while they are unpacked,
names are checked as they were written, and what two programs could read in two
ways is refused.
"""

from __future__ import annotations

import io
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lib.errors import MalformedRequest
from lib.workspace.git_paths import refusal

_CHUNK_BYTES: Final = 64 * 1024
_ENTRY_MARK: Final = b"PK\1\2"  # of each entry in the directory at the end
_MARKS_BY_CHANCE: Final = 64
_STARTS: Final = (b"PK\3\4", b"PK\5\6")  # an entry; an empty zip
_LOCAL_HEADER_BYTES: Final = 30
_UTF8_FLAG: Final = 0x800
_ENCRYPTED_FLAGS: Final = 0x1 | 0x40 | 0x2000
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SMALL_BYTES: Final = 1024 * 1024  # up to here any ratio is harmless


class BadBundle(MalformedRequest):
    """The bytes are no zip, or one that is not to be trusted."""

    code = "bad_bundle"


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What a zip may hold.

    Attributes:
        packed_bytes: Of the zip itself.
        unpacked_bytes: Of all entries together.
        ratio: Unpacked to packed bytes, of the whole.
    """

    packed_bytes: int = 50 * 1024 * 1024
    entries: int = 5_000
    unpacked_bytes: int = 200 * 1024 * 1024
    ratio: int = 200


@dataclass(frozen=True, slots=True)
class ZipFile:
    """One file of a zip; `path` is sound as a path of the tree."""

    path: str
    data: bytes
    is_executable: bool


def read_zip(data: bytes, limits: ZipLimits) -> tuple[ZipFile, ...]:
    """Return the files of a zip by path; folders are left out.

    Raises:
        BadBundle: it is no zip, breaks a limit, or has an entry that is
            encrypted, a link, of a bad name, damaged, or there twice.
    """
    if len(data) > limits.packed_bytes:
        raise BadBundle(f"The zip has more than {limits.packed_bytes // 2**20} MiB.")
    if not data.startswith(_STARTS):
        raise BadBundle("The body is not a zip file.")
    if data.count(_ENTRY_MARK) > limits.entries + _MARKS_BY_CHANCE:
        raise _too_many(limits)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _Reader(archive, limits, len(data)).files()
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeError, ValueError, OSError) as ex:
        raise BadBundle("The zip is damaged: it cannot be read whole.") from ex
    except (NotImplementedError, RuntimeError, KeyError) as ex:
        raise BadBundle("The zip uses a feature that is not understood; pack it anew.") from ex


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, limits: ZipLimits, packed: int) -> None:
        self._archive = archive
        self._limits = limits
        self._left = min(limits.unpacked_bytes, max(_SMALL_BYTES, limits.ratio * packed))

    def files(self) -> tuple[ZipFile, ...]:
        entries = self._archive.infolist()
        if len(entries) > self._limits.entries:
            raise _too_many(self._limits)
        names = _Names()
        for entry in entries:
            _check(entry)
            names.add(entry.filename)
        _check_apart(entries)
        found = [self._file(entry) for entry in entries if not entry.is_dir()]
        return tuple(sorted(found, key=lambda file: file.path))

    def _file(self, entry: zipfile.ZipInfo) -> ZipFile:
        data = b"".join(self._chunks(entry))
        if len(data) != entry.file_size:
            raise zipfile.BadZipFile("the entry has another size than it says")
        return ZipFile(entry.filename, data, bool(entry.external_attr >> 16 & stat.S_IXUSR))

    def _chunks(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._archive.open(entry) as file:
            while chunk := file.read(_CHUNK_BYTES):
                self._left -= len(chunk)
                if self._left < 0:
                    raise BadBundle(
                        f"The zip unpacks to more than {self._limits.unpacked_bytes // 2**20} MiB, "
                        f"or {self._limits.ratio} times its size."
                    )
                yield chunk


class _Names:
    """Refuses names that a file system could take for one another."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        path = name.rstrip("/")
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        for each in (*above, path):
            if self._spelled.setdefault(_folded(each), each) != each:
                raise BadBundle(f"Two names in the zip differ by case only: {each!r:.200}.")
        self._folders.update(above)
        if name.endswith("/"):
            self._folders.add(path)
        elif path in self._files:
            raise BadBundle(f"The zip has {path!r:.200} twice.")
        else:
            self._files.add(path)
        if self._files & {path, *above} & self._folders:
            raise BadBundle(f"The zip has {path!r:.200} as a file and as a folder.")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _check(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # `filename` ends at a NUL
    shown = f"{name!r:.200}"
    if not name.isascii() and not entry.flag_bits & _UTF8_FLAG:
        raise BadBundle(f"The name {shown} in the zip is not UTF-8.")
    reason = refusal(name.removesuffix("/"))
    if reason is None and _DRIVE.match(name):
        reason = "has a drive letter"
    if reason is not None or name != entry.filename:
        raise BadBundle(f"The name {shown} in the zip {reason or 'is not what it seems'}.")
    if entry.flag_bits & _ENCRYPTED_FLAGS:
        raise BadBundle(f"{shown} in the zip is encrypted.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise BadBundle(f"{shown} in the zip is a link or no regular file.")
    if entry.compress_type not in _METHODS:
        raise BadBundle(f"{shown} in the zip is packed by a method other than deflate.")
    if entry.is_dir() and entry.file_size:
        raise BadBundle(f"{shown} in the zip is a folder with content.")


def _check_apart(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that share bytes, as the smallest bombs do."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    for entry, following in pairwise(ordered):
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size
        if end > following.header_offset:
            raise BadBundle("Entries of the zip overlap.")


def _too_many(limits: ZipLimits) -> BadBundle:
    return BadBundle(f"The zip has more than {limits.entries:,} entries.")
