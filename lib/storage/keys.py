"""Keys of blobs: relative paths of plain characters, the same for every adapter."""

from __future__ import annotations

import re
from typing import Final

from lib.errors import Invalid

MAX_KEY_BYTES: Final = 1024  # S3's own limit
# A segment starts with a letter, digit or underscore: no `..`, no hidden file, no option.
_SEGMENT: Final = "[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}"
_ONE: Final = re.compile(rf"{_SEGMENT}\Z")
_KEY: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*\Z")
_PREFIX: Final = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?\Z")


class BadBlobKey(Invalid):
    """The text cannot be the key of a blob."""

    code = "bad_blob_key"


def check_key(key: str) -> str:
    """Return `key` if every adapter can hold it.

    Raises:
        BadBlobKey: it is empty, absolute, longer than MAX_KEY_BYTES, or has a
            segment with other characters than `A-Za-z0-9._=+-` or a dot in front.
    """
    if len(key) > MAX_KEY_BYTES or not _KEY.match(key):
        raise BadBlobKey(f"Blob key {key[:80]!r} must be relative, of A-Z a-z 0-9 . _ = + - and /.")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if a key can start with it. Raises BadBlobKey."""
    if len(prefix) > MAX_KEY_BYTES or not _PREFIX.match(prefix):
        raise BadBlobKey(f"Blob prefix {prefix[:80]!r} cannot be the start of a key.")
    return prefix


def is_segment(name: str) -> bool:
    """Return whether `name` may stand between the slashes of a key."""
    return _ONE.match(name) is not None


def content_key(sha256: str) -> str:
    """Return the key of a blob that is named by its content, `sha256/ab/<hex>`."""
    return f"sha256/{sha256[:2]}/{sha256}"
