r"""Git's tree objects as raw bytes: read, and changed by splicing.

A tree is `<mode> <name>\0<20 bytes of id>` per entry, sorted by name, where a
folder's name counts as if it ended in `/` (git: Documentation/gitformat-tree).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dulwich.objects import parse_tree

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
FOLDER: Final = 0o040000
SYMLINK: Final = 0o120000
GITLINK: Final = 0o160000

EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
ID_BYTES: Final = 20

Kind = Literal["blob", "tree", "commit"]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """What a name stands for in one folder.

    Attributes:
        mode: Git's: one of the constants of this module, or an old git's
            0o100664. Only regular files and folders are safe to follow.
        id: Hex id of the blob or tree.
    """

    mode: int
    id: str

    @property
    def is_folder(self) -> bool:
        """Whether the entry is a tree."""
        return self.mode == FOLDER

    @property
    def is_file(self) -> bool:
        """Whether the entry is a regular file: no symlink, no gitlink."""
        return stat.S_ISREG(self.mode)

    @property
    def has_blob(self) -> bool:
        """Whether the id is a blob's: a file, or a symlink's target."""
        return self.mode not in {FOLDER, GITLINK}

    @property
    def is_executable(self) -> bool:
        """Whether the entry is a file that its owner may run."""
        return self.is_file and bool(self.mode & stat.S_IXUSR)


def object_id(kind: Kind, data: bytes) -> str:
    """Return the hex id that git gives an object with this content."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()  # noqa: S324  # git's


def entries(raw: bytes) -> Iterator[tuple[bytes, TreeEntry]]:
    """Yield names and entries of a tree, in its order."""
    for name, mode, sha in parse_tree(raw, ID_BYTES):
        yield name, TreeEntry(mode, sha.decode())


def find_entry(raw: bytes, name: bytes) -> TreeEntry | None:
    """Return the entry of one name."""
    span = _find(raw, name)
    return _entry_at(raw, span) if span else None


def rewrite(raw: bytes, changes: Mapping[bytes, TreeEntry | None]) -> bytes:
    """Return a tree with entries put, or with None removed; the rest untouched."""
    if len(changes) > _SPLICE_LIMIT:
        return _rebuild(raw, changes)
    for name, entry in changes.items():
        raw = _splice(raw, name, entry)
    return raw


_SPLICE_LIMIT: Final = 16  # beyond it one parse and sort is cheaper than as many scans

_Span = tuple[int, int]


def _splice(raw: bytes, name: bytes, entry: TreeEntry | None) -> bytes:
    old = _find(raw, name)
    if old is not None and (entry is None or _entry_at(raw, old).is_folder == entry.is_folder):
        return raw[: old[0]] + _encode(name, entry) + raw[old[1] :]
    if old is not None:  # a file became a folder, or a folder a file: it sorts elsewhere
        raw = raw[: old[0]] + raw[old[1] :]
    at = _insertion_point(raw, name, entry)
    return raw[:at] + _encode(name, entry) + raw[at:]


def _rebuild(raw: bytes, changes: Mapping[bytes, TreeEntry | None]) -> bytes:
    merged: dict[bytes, TreeEntry | None] = {**dict(entries(raw)), **changes}
    kept = [(name, entry) for name, entry in merged.items() if entry is not None]
    kept.sort(key=lambda item: _sort_key(item[0], item[1]))
    return b"".join(_encode(name, entry) for name, entry in kept)


def _encode(name: bytes, entry: TreeEntry | None) -> bytes:
    if entry is None:
        return b""
    return b"%o %s\0" % (entry.mode, name) + bytes.fromhex(entry.id)


def _sort_key(name: bytes, entry: TreeEntry) -> bytes:
    return name + b"/" if entry.is_folder else name


def _find(raw: bytes, name: bytes) -> _Span | None:
    """Find an entry's bytes. A scan in C, then entry by entry only if it is there.

    The bytes of an id may look like a name, so a hit is believed only when the
    walk from the start arrives at it.
    """
    hit = raw.find(b" %s\0" % name)
    if hit < 0:
        return None
    start = 0
    while start < len(raw):
        space = raw.index(b" ", start)
        end = raw.index(b"\0", space) + 1 + ID_BYTES
        if space >= hit and raw[space + 1 : end - ID_BYTES - 1] == name:
            return start, end
        start = end
    return None


def _insertion_point(raw: bytes, name: bytes, entry: TreeEntry | None) -> int:
    if entry is None:
        return len(raw)
    key = _sort_key(name, entry)
    start = 0
    while start < len(raw):
        space = raw.index(b" ", start)
        nul = raw.index(b"\0", space)
        other = raw[space + 1 : nul] + (b"/" if raw[start:space] == b"40000" else b"")
        if other > key:
            return start
        start = nul + 1 + ID_BYTES
    return start


def _entry_at(raw: bytes, span: _Span) -> TreeEntry:
    mode = int(raw[span[0] : raw.index(b" ", span[0])], 8)
    return TreeEntry(mode, raw[span[1] - ID_BYTES : span[1]].hex())
