"""Which files of a tree are exported, under which names, and which are not, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lib.workspace.deny_list import is_denied
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.git_paths import refusal, shown
from lib.workspace.issues import names
from lib.workspace.spellings import Spellings
from lib.workspace.tree_objects import GITLINK, SYMLINK, TreeEntry
from lib.workspace.tree_view import TreeView

INSTRUCTIONS: Final = "workspace.md"
MAX_SHOWN: Final = 1_024  # characters of a path; git takes paths of any length

_NO_ISSUE: Final = "is not read as an issue or its comments"
_DAMAGED: Final = "cannot be read: its object in the repository is damaged; see `git fsck`"
_KINDS: Final = {SYMLINK: "is a symbolic link", GITLINK: "is a submodule"}


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file that is exported.

    Attributes:
        path: Its name in the zip.
        source: Its path in the tree.
    """

    path: str
    source: str
    is_executable: bool


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not exported.

    Attributes:
        path: In the tree, so that it can be printed.
        reason: Follows the path in a sentence.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of a tree, each sorted by path."""

    files: tuple[ExportFile, ...]
    left_out: tuple[LeftOut, ...]


def select(tree: TreeView) -> Selection:
    """Return what of a tree is exported.

    Of names that differ by case only, which no import takes together, the one in
    small letters stays.
    """
    spellings = Spellings()
    files, left_out = [], []
    for file, said in sorted(_judged(tree), key=lambda each: each[0].path.swapcase()):
        reason = said or _clash(spellings, file.path)
        if reason is None:
            files.append(file)
        else:
            left_out.append(LeftOut(shown(file.source)[:MAX_SHOWN], reason))
    return Selection(
        tuple(sorted(files, key=lambda file: file.path)),
        tuple(sorted(left_out, key=lambda each: each.path)),
    )


def without_damaged(tree: TreeView, chosen: Selection) -> Selection:
    """Return what of a selection can be read; the rest is left out, too."""
    files, damaged = [], []
    for file in chosen.files:
        try:
            tree.read(file.source)
            files.append(file)
        except (ObjectNotFound, WorkspaceUnavailable):
            damaged.append(LeftOut(shown(file.source)[:MAX_SHOWN], _DAMAGED))
    left_out = sorted((*chosen.left_out, *damaged), key=lambda each: each.path)
    return Selection(tuple(files), tuple(left_out))


def _clash(spellings: Spellings, path: str) -> str | None:
    first = spellings.add(path)
    return None if first is None else f"differs from {first} by case only"


def _judged(tree: TreeView) -> Iterator[tuple[ExportFile, str | None]]:
    """Yield each file that could be exported, and why it is not."""
    for top in ("workers", "contexts", INSTRUCTIONS):
        for path, entry in tree.walk(top):
            yield ExportFile(path, path, entry.is_executable), _reason(path, entry)
    of_issues = {*_issue_paths(tree)}
    for path, entry in tree.walk(names.FOLDER):
        if path != names.COUNTER:  # which is in the summary
            reason = None if path in of_issues else _KINDS.get(entry.mode, _NO_ISSUE)
            yield ExportFile(f"issues/{path.rpartition('/')[2]}", path, False), reason


def _reason(path: str, entry: TreeEntry) -> str | None:
    """Regular files of a worker or context may leave, if their names hold no secret."""
    if not entry.is_file:
        return _KINDS.get(entry.mode, "is no regular file")
    if path != INSTRUCTIONS and (path.startswith(INSTRUCTIONS) or path.count("/") < 2):
        return "is part of no worker and no context"
    return refusal(path) or is_denied(path)


def _issue_paths(tree: TreeView) -> Iterator[str]:
    """Yield the files of all issues, of each the one that is read, with their comments."""
    for path, entry in tree.walk(names.FOLDER):
        number = names.document_number(path.rpartition("/")[2])
        if number is None or not entry.is_file or names.find_document(tree, number) != path:
            continue
        yield path
        comments = tree.find(names.comments_path(path))
        if comments is not None and comments.is_file:
            yield names.comments_path(path)
