"""Where issues lie: a file each, a folder for each hundred from 100 on.

`.floom/issues/ISSUE-0001.md`, `.floom/issues/10/ISSUE-1042.md`; the comments
beside it. The folders keep tree objects small, so that a commit stays small. An
issue is read from either place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lib.workspace.issues.errors import NoNumberLeft
from lib.workspace.tree_view import TreeView

FOLDER: Final = ".floom/issues"
COUNTER: Final = f"{FOLDER}/.next"
PER_FOLDER: Final = 100
MAX_NUMBER: Final = 999_999_999
MAX_IMPORTED: Final = 99_999_999  # an import leaves room for the issues to come
ISSUE_ID_PATTERN: Final = r"^ISSUE-[0-9]{4,9}$"

_COUNTER_DIGITS: Final = len(str(MAX_NUMBER + 1))
_MAX_COUNTER_LINES: Final = 100
_DOCUMENT: Final = ".md"
_COMMENTS: Final = ".comments.ndjson"
_NAME: Final = re.compile(r"ISSUE-([0-9]{4}|[1-9][0-9]{4,8})(\.md|\.comments\.ndjson)\Z")
_ID: Final = re.compile(r"ISSUE-([0-9]{4}|[1-9][0-9]{4,8})\Z")
_MEANT: Final = re.compile(r"ISSUE-[0-9]+\.md\Z", re.IGNORECASE)
_SUBFOLDER: Final = re.compile(r"[1-9][0-9]{0,6}\Z")


def issue_id(number: int) -> str:
    """Return an issue's id, such as `ISSUE-0001`."""
    return f"ISSUE-{number:04}"


def number_of(issue_id: str) -> int | None:
    """Return an id's number; None for a form that no issue has, such as `ISSUE-00001`."""
    found = _ID.match(issue_id)
    number = int(found[1]) if found else 0
    return number or None


def document_path(number: int) -> str:
    """Return the path of a new issue."""
    return f"{_folder(number)}/{issue_id(number)}{_DOCUMENT}"


def comments_path(document: str) -> str:
    """Return the path of an issue's comments: beside its file."""
    return document.removesuffix(_DOCUMENT) + _COMMENTS


def find_document(tree: TreeView, number: int) -> str | None:
    """Return the path at which an issue is, if it is anywhere."""
    for folder in dict.fromkeys((_folder(number), FOLDER)):
        path = f"{folder}/{issue_id(number)}{_DOCUMENT}"
        entry = tree.find(path)
        if entry is not None and entry.is_file:
            return path
    return None


def document_number(name: str) -> int | None:
    """Return the number of an issue's file by its name; None for any other file."""
    return _number(name, _DOCUMENT)


def is_misnamed(name: str) -> bool:
    """Return whether a file's name is nearly, and not quite, that of an issue."""
    return document_number(name) is None and _MEANT.match(name) is not None


def comments_number(name: str) -> int | None:
    """Return the number of a file of comments by its name; None for any other file."""
    return _number(name, _COMMENTS)


def is_subfolder(name: str) -> bool:
    """Return whether a folder of this name may hold issues."""
    return _SUBFOLDER.match(name) is not None


def belongs_in(number: int, subfolder: str) -> bool:
    """Return whether a folder (`""` is the top) is one that an issue is read from."""
    return subfolder in ("", _subfolder(number))


def numbers_from(tree: TreeView, first: int) -> Iterator[int]:
    """Yield the numbers of issues from `first` on; looks into as few folders as it can."""
    for name, entry in tree.names(FOLDER):
        inside = [name]
        if entry.is_folder and is_subfolder(name):
            is_below = (int(name) + 1) * PER_FOLDER <= first
            inside = [] if is_below else [each for each, _ in tree.names(f"{FOLDER}/{name}")]
        numbers = map(document_number, inside)
        yield from (number for number in numbers if number is not None and number >= first)


def next_number(tree: TreeView) -> int:
    """Return the number of the next issue: one that no issue ever had.

    Raises:
        NoNumberLeft: an issue has the highest number that there is.
    """
    number = number_after(tree)
    if number > MAX_NUMBER:
        raise NoNumberLeft(
            f"There is no issue number above {MAX_NUMBER}, which an issue made by hand, or {COUNTER}, "
            "has. Delete such an issue, write the number of the next one into that file, and "
            "reload the workspace."
        )
    return number


def number_after(tree: TreeView) -> int:
    """Return a number above those of all issues that ever were; it may be too high for one."""
    lines = (tree.find_bytes(COUNTER) or b"").split()[:_MAX_COUNTER_LINES]
    # both sides of a merge conflict, too: the higher one holds
    counted = [int(line) for line in lines if line.isdigit() and len(line) <= _COUNTER_DIGITS]
    return max(*counted, _highest(tree) + 1, 1)


def _folder(number: int) -> str:
    return f"{FOLDER}/{_subfolder(number)}".rstrip("/")


def _subfolder(number: int) -> str:
    return str(number // PER_FOLDER) if number >= PER_FOLDER else ""


def _number(name: str, suffix: str) -> int | None:
    found = _NAME.match(name)
    if found is None or found[2] != suffix:
        return None
    return int(found[1]) or None


def _highest(tree: TreeView) -> int:
    """Return the highest number in use; looks into as few folders as it can."""
    top = [*tree.names(FOLDER)]
    folders = [int(name) for name, entry in top if entry.is_folder and is_subfolder(name)]
    best = max(_numbers(name for name, _ in top), default=0)
    for folder in sorted(folders, reverse=True):
        if (folder + 1) * PER_FOLDER <= best:
            break
        names = (name for name, _ in tree.names(f"{FOLDER}/{folder}"))
        best = max(best, *_numbers(names), 0)
    return best


def _numbers(names: Iterator[str]) -> Iterator[int]:
    for name in names:
        number = document_number(name) or comments_number(name)
        if number is not None:
            yield number
