"""All issues of a tree, parsed: a list that follows the tip.

Folders are kept by the id of their tree and files by that of their blob, so
after a commit one folder is listed and one file parsed again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.issues import comments, names
from lib.workspace.issues.document import BadIssueFile, decode
from lib.workspace.issues.issue import Issue, encode
from lib.workspace.scan import Skipped
from lib.workspace.tree_view import TreeView

DAMAGED: Final = "cannot be read: its object in the repository is damaged; see `git fsck`"
ELSEWHERE: Final = "is not read: the same issue is there in another folder"
MISNAMED: Final = "is not read: an issue's name is ISSUE- and 4 to 9 digits, as in ISSUE-0042.md"
MISPLACED: Final = "is not read: an issue lies in .floom/issues or in the folder of its hundred"


@dataclass(frozen=True, slots=True)
class Row:
    """One issue.

    Attributes:
        path: Of its file.
        json: What the API answers, rendered once.
    """

    number: int
    path: str
    issue: Issue
    json: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All issues of one tree, by number, and the files that are none."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """One issue's file, as it was read: by the ids of its blob and its comments'.

    Without ids it could not be read.
    """

    ids: tuple[str, str | None] | None
    found: Row | Skipped


@dataclass(frozen=True, slots=True)
class _Folder:
    """One folder, as it was read."""

    tree_id: str
    files: Mapping[str, _File]
    misnamed: tuple[Skipped, ...]


class IssueIndex:
    """Reads issues. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tree_id: str | None = None
        self._listing = Listing((), ())
        self._folders: dict[str, _Folder] = {}

    def list(self, tree: TreeView) -> Listing:
        """Return the issues of a tree."""
        tree_id = tree.tree_id(names.FOLDER)
        with self._lock:
            if tree_id != self._tree_id:
                self._folders = dict(self._read(tree, tree_id))
                self._listing = _merged(self._folders)
                self._tree_id = tree_id
            return self._listing

    def _read(self, tree: TreeView, tree_id: str | None) -> Iterator[tuple[str, _Folder]]:
        yield "", self._folder(tree, "", tree_id or "")
        for name, entry in tree.names(names.FOLDER):
            if entry.is_folder and names.is_subfolder(name):
                yield name, self._folder(tree, name, entry.id)

    def _folder(self, tree: TreeView, name: str, tree_id: str) -> _Folder:
        known = self._folders.get(name)
        if known is not None and known.tree_id == tree_id:
            return known
        place = f"{names.FOLDER}/{name}".rstrip("/")
        inside = {each: entry for each, entry in tree.names(place) if entry.is_file}
        numbers = {each: number for each in inside if (number := names.document_number(each))}
        before = known.files if known is not None else {}
        files = {}
        for each, number in numbers.items():
            beside = inside.get(names.comments_path(each))
            ids = inside[each].id, beside.id if beside is not None else None
            old = before.get(each)
            path = f"{place}/{each}"
            files[each] = old if old and old.ids == ids else _read(tree, path, number, ids)
        misnamed = (
            Skipped(f"{place}/{each}", MISNAMED) for each in inside if names.is_misnamed(each)
        )
        return _Folder(tree_id, files, tuple(misnamed))


def _merged(folders: Mapping[str, _Folder]) -> Listing:
    """Return the issues of all folders by number, each from the place where it belongs."""
    rows: dict[int, Row] = {}
    skipped: list[Skipped] = []
    for name in sorted(folders, key=bool, reverse=True):  # the top folder last
        skipped.extend(folders[name].misnamed)
        for file in folders[name].files.values():
            found = file.found
            if isinstance(found, Skipped):
                skipped.append(found)
            elif not names.belongs_in(found.number, name):
                skipped.append(Skipped(found.path, MISPLACED))
            elif found.number in rows:
                skipped.append(Skipped(found.path, ELSEWHERE))
            else:
                rows[found.number] = found
    ordered = sorted(rows.values(), key=lambda row: row.number)
    return Listing(tuple(ordered), tuple(sorted(skipped, key=lambda each: each.path)))


def _read(tree: TreeView, path: str, number: int, ids: tuple[str, str | None]) -> _File:
    try:
        return _File(ids, _parse(tree, path, number))
    except (ObjectNotFound, WorkspaceUnavailable):  # looked at again the next time
        return _File(None, Skipped(path, DAMAGED))


def _parse(tree: TreeView, path: str, number: int) -> Row | Skipped:
    try:
        document = decode(tree.read(path), issue_id=names.issue_id(number))
    except BadIssueFile as ex:
        return Skipped(path, str(ex))
    said = tree.find_bytes(names.comments_path(path))
    issue = Issue.of(document, len(comments.decode(said)) if said else 0)
    return Row(number, path, issue, encode(issue))
