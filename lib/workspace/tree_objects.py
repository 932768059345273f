r"""Git's tree objects as raw bytes: read, and changed by splicing.

A tree is `<mode> <name>\0<20 bytes of id>` per entry, sorted by name, where a
folder's name counts as if it ended in `/` (git: Documentation/gitformat-tree).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from dulwich.objects import parse_tree

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
FOLDER: Final = 0o040000
SYMLINK: Final = 0o120000
GITLINK: Final = 0o160000

EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
ID_BYTES: Final = 20

Kind = Literal["blob", "tree", "commit"]


class TreeEntry(NamedTuple):
    """What a name stands for in one folder; a tuple, for there are many.

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


def parse_entries(raw: bytes) -> dict[bytes, TreeEntry]:
    """Return the entries of a tree by name."""
    return {name: TreeEntry(mode, sha.decode()) for name, mode, sha in parse_tree(raw, ID_BYTES)}


def differing_names(old: bytes, new: bytes) -> set[bytes]:
    """Return the names that two trees do not have in common as they are.

    A quarter of the time that two parsed trees take, which is what walks of
    history spend theirs on.
    """
    entries = {*parse_tree(old, ID_BYTES)} ^ {*parse_tree(new, ID_BYTES)}
    return {name for name, _, _ in entries}


def in_order(entries: Mapping[bytes, TreeEntry]) -> list[tuple[bytes, TreeEntry]]:
    """Return entries in git's order, whatever order they are kept in."""
    return sorted(entries.items(), key=lambda item: _sort_key(item[0], item[1]))


def rewrite(
    raw: bytes, known: Mapping[bytes, TreeEntry], changes: Mapping[bytes, TreeEntry | None]
) -> bytes:
    """Return a tree with entries put, or with None removed; the rest untouched.

    Args:
        raw: The tree.
        known: The same, parsed.
        changes: By name.
    """
    if len(changes) > _SPLICE_LIMIT:
        return _rebuild({**known, **changes})
    for name, entry in changes.items():
        raw = _splice(raw, name, known.get(name), entry)
    return raw


_SPLICE_LIMIT: Final = 16  # beyond it one sort is cheaper than as many scans

_Span = tuple[int, int]


def _splice(raw: bytes, name: bytes, old: TreeEntry | None, entry: TreeEntry | None) -> bytes:
    if old is not None:
        start, end = _find(raw, name, old)
        if entry is None or old.is_folder == entry.is_folder:
            return raw[:start] + _encode(name, entry) + raw[end:]
        raw = raw[:start] + raw[end:]  # file and folder sort differently
    at = _insertion_point(raw, name, entry)
    return raw[:at] + _encode(name, entry) + raw[at:]


def _rebuild(merged: Mapping[bytes, TreeEntry | None]) -> bytes:
    kept = [(name, entry) for name, entry in merged.items() if entry is not None]
    return b"".join(_encode(name, entry) for name, entry in in_order(dict(kept)))


def _encode(name: bytes, entry: TreeEntry | None) -> bytes:
    if entry is None:
        return b""
    return b"%o %s\0" % (entry.mode, name) + bytes.fromhex(entry.id)


def _sort_key(name: bytes, entry: TreeEntry) -> bytes:
    return name + b"/" if entry.is_folder else name


def _find(raw: bytes, name: bytes, entry: TreeEntry) -> _Span:
    """Find an entry that is there. In C, unless the end of another looks the same."""
    wanted = _encode(name, entry)
    if raw.count(wanted) == 1:
        start = raw.index(wanted)
        return start, start + len(wanted)
    return next(span for span in _spans(raw) if _name_at(raw, span) == name)


def _insertion_point(raw: bytes, name: bytes, entry: TreeEntry | None) -> int:
    if entry is None:
        return len(raw)
    key = _sort_key(name, entry)
    for span in _spans(raw):
        other = _name_at(raw, span)
        if (other + b"/" if raw.startswith(b"40000 ", span[0]) else other) > key:
            return span[0]
    return len(raw)


def _spans(raw: bytes) -> Iterator[_Span]:
    start = 0
    while start < len(raw):
        end = raw.index(b"\0", start) + 1 + ID_BYTES
        yield start, end
        start = end


def _name_at(raw: bytes, span: _Span) -> bytes:
    return raw[raw.index(b" ", span[0]) + 1 : span[1] - ID_BYTES - 1]
