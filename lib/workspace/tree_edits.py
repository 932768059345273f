"""Edits of a tree, and the new tree that they make.

Only the tree objects on changed paths are written again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lib.workspace import tree_objects
from lib.workspace.errors import InvalidPath, ObjectNotFound
from lib.workspace.git_paths import check_path, decode, encode, shown
from lib.workspace.object_store import ObjectSource
from lib.workspace.tree_objects import (
    EMPTY_TREE,
    EXECUTABLE,
    FILE,
    FOLDER,
    Kind,
    TreeEntry,
    object_id,
)


@dataclass(frozen=True, slots=True)
class Put:
    """Write a file, over what is there.

    Attributes:
        path: Checked by `git_paths.check_path`; a file may not take a folder's
            place, nor need a folder where a file is, unless that is deleted by
            the same change.
        data: Exact bytes.
        mode: `tree_objects.FILE` or `EXECUTABLE`.
    """

    path: str
    data: bytes
    mode: int = FILE


@dataclass(frozen=True, slots=True)
class PutTree:
    """Put a whole folder that the repository already holds, such as an old version.

    Attributes:
        path: Where; what is there now goes away.
        tree_id: Id of the folder's tree.
    """

    path: str
    tree_id: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file, or a folder with all it holds; no error if absent."""

    path: str


Edit = Put | PutTree | Delete


class ObjectSink(Protocol):
    """Takes new objects."""

    def add(self, kind: Kind, data: bytes, *, base: str | None = None) -> str:
        """Keep an object and return its id; `base` is an earlier version's id."""
        ...


@dataclass
class _Node:
    """What happens at one path: removal, then a new entry, then edits below."""

    delete: bool = False
    entry: TreeEntry | None = None
    children: dict[bytes, _Node] = field(default_factory=dict)


def apply_edits(source: ObjectSource, sink: ObjectSink, tree_id: str, edits: Iterable[Edit]) -> str:
    """Return the id of `tree_id` with all edits made; deletions come first.

    Nothing is added to `sink` unless every edit is sound. Of two edits of one
    path the later holds. A folder that loses its last file goes away.

    Raises:
        InvalidPath: a path, or a mode, that the tree may not hold, or a file
            where a folder is needed, or the reverse.
        ObjectNotFound: a `PutTree` names a tree that is not there.
    """
    blobs: dict[str, bytes] = {}
    root = _Node()
    _plan(source, root, edits, blobs)
    _check(source, root, TreeEntry(FOLDER, tree_id), "")
    for data in blobs.values():
        sink.add("blob", data)
    entry = _write(source, sink, root, TreeEntry(FOLDER, tree_id))
    return entry.id if entry else EMPTY_TREE


def _plan(
    source: ObjectSource, root: _Node, edits: Iterable[Edit], blobs: dict[str, bytes]
) -> None:
    listed = list(edits)
    for edit in listed:
        if isinstance(edit, Delete):
            _node(root, edit.path).delete = True
    for edit in listed:
        if not isinstance(edit, Delete):
            _node(root, check_path(edit.path)).entry = _entry(source, edit, blobs)


def _node(root: _Node, path: str) -> _Node:
    if not path:
        raise InvalidPath("The whole workspace cannot be one edit.")
    for segment in path.split("/"):
        root = root.children.setdefault(encode(segment), _Node())
    return root


def _entry(source: ObjectSource, edit: Put | PutTree, blobs: dict[str, bytes]) -> TreeEntry:
    if isinstance(edit, PutTree):
        if not source.read(edit.tree_id, "tree"):
            raise ObjectNotFound("An empty folder cannot be kept; delete it instead.")
        return TreeEntry(FOLDER, edit.tree_id)
    if edit.mode not in {FILE, EXECUTABLE}:
        raise InvalidPath(f"The mode {edit.mode:o} of {shown(edit.path)!r} is not a file's.")
    sha = object_id("blob", edit.data)
    blobs[sha] = edit.data
    return TreeEntry(edit.mode, sha)


def _check(source: ObjectSource, node: _Node, old: TreeEntry | None, path: str) -> None:
    """Refuse a file in a folder's place, and files below a file."""
    here = None if node.delete else old
    if node.entry is not None and not node.entry.is_folder:
        if here is not None and here.is_folder:
            raise InvalidPath(f"{shown(path)!r} is a folder; a file cannot take its place.")
        if any(child.entry for child in node.children.values()):
            raise InvalidPath(f"{shown(path)!r} cannot be a file and a folder.")
    here = node.entry or here
    if here is not None and not here.is_folder and _puts_below(node):
        raise InvalidPath(f"{shown(path)!r} is a file; there can be nothing below it.")
    known = source.tree(here.id) if here and here.is_folder and node.children else {}
    for name, child in node.children.items():
        _check(source, child, known.get(name), f"{path}/{decode(name)}".lstrip("/"))


def _puts_below(node: _Node) -> bool:
    return any(child.entry or _puts_below(child) for child in node.children.values())


def _write(
    source: ObjectSource, sink: ObjectSink, node: _Node, old: TreeEntry | None
) -> TreeEntry | None:
    here = node.entry or (None if node.delete else old)
    if not node.children or (here is not None and not here.is_folder):
        return here
    known = source.tree(here.id) if here else {}
    written = {
        name: _write(source, sink, child, known.get(name)) for name, child in node.children.items()
    }
    differing = {name: entry for name, entry in written.items() if entry != known.get(name)}
    if not differing:
        return here
    raw = source.read(here.id, "tree") if here else b""
    data = tree_objects.rewrite(raw, known, differing)
    if not data:
        return None
    sha = sink.add("tree", data, base=here.id if here else None)
    merged = {**known, **differing}
    source.keep_tree(sha, {name: entry for name, entry in merged.items() if entry is not None})
    return TreeEntry(FOLDER, sha)
