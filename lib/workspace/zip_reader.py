"""Reads a zip that anybody may have made: every entry is judged before one is used.

Nothing that a header says is believed: bytes are counted while they are unpacked,
names are checked as they were written, and what two programs could read in two
ways is refused (`zip_layout`).
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import Final

from lib.workspace.git_paths import refusal
from lib.workspace.spellings import Spellings
from lib.workspace.zip_layout import BadBundle, Entry, lay_out

__all__ = ["BadBundle", "ZipFile", "ZipLimits", "read_zip"]

_STARTS: Final = (b"PK\3\4", b"PK\5\6")  # an entry; an empty zip
_DRIVE: Final = re.compile(r"[A-Za-z]:")
SMALL_BYTES: Final = 1024 * 1024  # up to here any ratio is harmless


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What a zip may hold; by default, a zip of a whole workspace.

    Attributes:
        packed_bytes: Of the zip itself.
        entries: A workspace of 10,000 issues with comments has more than 20,000;
            beyond 65,535 zips have another form.
        unpacked_bytes: Of all entries together.
        ratio: Unpacked to packed bytes, of the whole.
    """

    packed_bytes: int = 50 * 1024 * 1024
    entries: int = 50_000
    unpacked_bytes: int = 200 * 1024 * 1024
    ratio: int = 200

    def unpacked_of(self, packed: int) -> int:
        """Return to how many bytes a zip of `packed` bytes may unpack."""
        return min(self.unpacked_bytes, max(SMALL_BYTES, self.ratio * packed))


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
    entries = [*lay_out(data, max_entries=limits.entries)]
    names = _Names()
    for entry, _ in entries:
        _check(entry)
        names.add(entry.name)
    _check_size(sum(entry.size for entry, _ in entries), len(data), limits)
    found = [(entry, entry.unpacked(packed)) for entry, packed in entries]
    files = [_file(entry, content) for entry, content in found if not entry.is_folder]
    return tuple(sorted(files, key=lambda file: file.path))


def _file(entry: Entry, content: bytes) -> ZipFile:
    return ZipFile(entry.name, content, bool(entry.mode & stat.S_IXUSR))


def _check_size(unpacked: int, packed: int, limits: ZipLimits) -> None:
    """Judge by what the headers say: no entry is unpacked to more than that."""
    if unpacked > limits.unpacked_of(packed):
        raise BadBundle(
            f"The zip unpacks to more than {limits.unpacked_bytes // 2**20} MiB, "
            f"or {limits.ratio} times its size."
        )


class _Names:
    """Refuses names that a file system could take for one another."""

    def __init__(self) -> None:
        self._spellings = Spellings()
        self._top = _Folder()

    def add(self, name: str) -> None:
        path = name.rstrip("/")
        if self._spellings.add(path) is not None:
            raise BadBundle(f"Two names in the zip differ by case only: {path!r:.200}.")
        *above, last = path.split("/")
        folder = self._top
        for segment in above:
            folder = folder.enter(segment, path)
        if name.endswith("/"):
            folder.enter(last, path)
        elif last in folder.folders:
            raise _both(path)
        elif last in folder.files:
            raise BadBundle(f"The zip has {path!r:.200} twice.")
        else:
            folder.files.add(last)


@dataclass(slots=True)
class _Folder:
    """What a folder of the zip holds."""

    files: set[str] = field(default_factory=set)
    folders: dict[str, _Folder] = field(default_factory=dict)

    def enter(self, name: str, path: str) -> _Folder:
        """Return a folder inside, made if there is none; `path` is for the refusal."""
        if name in self.files:
            raise _both(path)
        return self.folders.setdefault(name, _Folder())


def _both(path: str) -> BadBundle:
    return BadBundle(f"The zip has {path!r:.200} as a file and as a folder.")


def _check(entry: Entry) -> None:
    name = entry.name
    shown = f"{name!r:.200}"
    reason = refusal(name.removesuffix("/"))
    if reason is None and _DRIVE.match(name):
        reason = "has a drive letter"
    if reason is not None:
        raise BadBundle(f"The name {shown} in the zip {reason}.")
    if stat.S_IFMT(entry.mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise BadBundle(f"{shown} in the zip is a link or no regular file.")
    if entry.is_folder and entry.size:
        raise BadBundle(f"{shown} in the zip is a folder with content.")
