"""Reads a tree by its id: one file, one folder, or everything below a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lib.workspace.errors import PathNotFound
from lib.workspace.git_paths import decode, encode, shown
from lib.workspace.object_store import ObjectSource
from lib.workspace.tree_objects import FOLDER, TreeEntry, in_order


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a tree.

    Attributes:
        path: Relative to the folder that was listed.
        mode: Git's mode. A symlink (0o120000) or gitlink (0o160000) is listed
            as it is; refuse what is no regular file before following it.
        id: Id of its blob; of a gitlink, a commit elsewhere.
        size: Bytes; 0 for a gitlink.
    """

    path: str
    mode: int
    id: str
    size: int


class TreeView:
    """A tree, unchanging. Paths are text with `/`; `""` is the tree itself.

    Attributes:
        id: The tree's id.
    """

    def __init__(self, source: ObjectSource, tree_id: str) -> None:
        self._source = source
        self.id = tree_id

    def find(self, path: str) -> TreeEntry | None:
        """Return what is at `path`, or None."""
        entry = TreeEntry(FOLDER, self.id)
        for segment in path.split("/") if path else ():
            found = (
                self._source.tree(entry.id).get(encode(segment))
                if entry.is_folder and segment
                else None
            )
            if found is None:
                return None
            entry = found
        return entry

    def tree_id(self, path: str) -> str | None:
        """Return the id of the folder at `path`, or None."""
        entry = self.find(path)
        return entry.id if entry and entry.is_folder else None

    def read(self, path: str) -> bytes:
        """Return a regular file's exact bytes.

        Raises:
            PathNotFound: there is no regular file.
        """
        data = self.find_bytes(path)
        if data is None:
            raise PathNotFound(f"The workspace has no file {shown(path)!r}.")
        return data

    def find_bytes(self, path: str) -> bytes | None:
        """Return a regular file's exact bytes, or None where there is none."""
        entry = self.find(path)
        return self._source.read(entry.id, "blob") if entry and entry.is_file else None

    def names(self, path: str = "") -> Iterator[tuple[str, TreeEntry]]:
        """Yield names and entries of one folder, in git's order; nothing if absent."""
        tree_id = self.tree_id(path)
        if tree_id is not None:
            for name, entry in in_order(self._source.tree(tree_id)):
                yield decode(name), entry

    def walk(self, path: str = "") -> Iterator[tuple[str, TreeEntry]]:
        """Yield path (from this tree's root) and entry of all but folders below `path`.

        At a file it yields that file. Folders nested beyond any sane depth
        need no recursion.
        """
        entry = self.find(path)
        pending = [(path, entry)] if entry else []
        while pending:
            place, here = pending.pop()
            if not here.is_folder:
                yield place, here
                continue
            inside = in_order(self._source.tree(here.id))
            below = [(f"{place}/{decode(name)}".lstrip("/"), each) for name, each in inside]
            pending.extend(reversed(below))


def changes(
    source: ObjectSource, old: str, new: str
) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
    """Yield path, old and new entry of every file in which two trees differ.

    Folders with equal ids are not read. Where a file became a folder, or the
    reverse, the file and what the folder holds are separate differences.
    """
    pending: list[tuple[str, TreeEntry | None, TreeEntry | None]] = [
        ("", TreeEntry(FOLDER, old), TreeEntry(FOLDER, new))
    ]
    while pending:
        path, before, after = pending.pop()
        if before == after:
            continue
        file_before = before if before and not before.is_folder else None
        file_after = after if after and not after.is_folder else None
        if file_before or file_after:
            yield path, file_before, file_after
        pending.extend(_below(source, path, before, after))


def _below(
    source: ObjectSource, path: str, before: TreeEntry | None, after: TreeEntry | None
) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
    left, right = _folder(source, before), _folder(source, after)
    differing = {name for name, _ in left.items() ^ right.items()}
    for name in sorted(differing, reverse=True):
        yield f"{path}/{decode(name)}".lstrip("/"), left.get(name), right.get(name)


def _folder(source: ObjectSource, entry: TreeEntry | None) -> Mapping[bytes, TreeEntry]:
    return source.tree(entry.id) if entry is not None and entry.is_folder else {}
