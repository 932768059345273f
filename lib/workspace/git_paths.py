"""Paths inside the tree: which are refused, and how their bytes are shown.

Inside the package a path is text, segments joined by `/`. Git keeps bytes: one
that is not UTF-8 (a person may push it) is carried by `surrogateescape`, so it
can be listed and deleted, but never be written by us.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lib.workspace.errors import InvalidPath

MAX_PATH_BYTES: Final = 1_024  # well under PATH_MAX with any root before it
MAX_DEPTH: Final = 64  # folders within folders
MAX_SEGMENT_BYTES: Final = 200  # Linux allows 255; leaves room for suffixes

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What `git fsck` refuses, and what NTFS or HFS+ would take for `.git`.
_GIT_NAMES: Final = frozenset({".git", "git~1", ".gitmodules"})
_IGNORED_BY_HFS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_NTFS_TAIL: Final = re.compile(r"(?:[ .]+|:.*)\Z", re.DOTALL)


def refusal(path: str) -> str | None:
    """Return why `path` cannot be a file of the tree, or None."""
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "holds a backslash"
    if _CONTROL.search(path):
        return "holds a control character"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    segments = path.split("/")
    if len(segments) > MAX_DEPTH + 1:
        return f"lies deeper than {MAX_DEPTH} folders"
    return next(filter(None, map(_segment_refusal, segments)), None)


def check_path(path: str) -> str:
    """Return `path`.

    Raises:
        InvalidPath: it is one that `refusal` names a reason for.
    """
    reason = refusal(path)
    if reason is not None:
        raise InvalidPath(f"The path {shown(path)[:200]!r} {reason}.")
    return path


def encode(path: str) -> bytes:
    """Return a path's bytes as git holds them."""
    return path.encode("utf-8", "surrogateescape")


def decode(path: bytes) -> str:
    """Return the text of git's bytes; inverse of `encode`."""
    return path.decode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """Return a path that can be printed and sent, odd bytes in hex."""
    return encode(path).decode("utf-8", "backslashreplace")


def is_under(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or lies in it; `""` holds everything."""
    return not folder or path == folder or path.startswith(folder + "/")


@lru_cache(maxsize=4_096)  # names repeat: every worker has a worker.yml
def _segment_refusal(segment: str) -> str | None:
    if not segment:
        return "has an empty segment"
    if segment in {".", ".."}:
        return "has a segment that is . or .."
    plain = _NTFS_TAIL.sub("", _IGNORED_BY_HFS.sub("", segment)).lower()
    if plain in _GIT_NAMES:
        return "names something that belongs to git"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"has a segment longer than {MAX_SEGMENT_BYTES} bytes"
    return None
