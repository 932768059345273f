"""Pages of a listing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.storage.keys import BadBlobKey, check_key
from lib.storage.ports import BlobInfo
from lib.storage.s3.marks import etag_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef


@dataclass(frozen=True, slots=True)
class Page:
    """Some blobs by key, and where the next ones are; None after the last page."""

    blobs: tuple[BlobInfo, ...]
    next_token: str | None


def page_of(answer: ListObjectsV2OutputTypeDef, root: str) -> Page:
    """Read a page; `root` is what is before each key. Raises DamagedAnswer."""
    more = answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
    return Page(tuple(_blobs_of(answer, root)), more)


def _blobs_of(answer: ListObjectsV2OutputTypeDef, root: str) -> Iterator[BlobInfo]:
    for each in answer.get("Contents", ()):
        key = each["Key"].removeprefix(root)
        if _is_key(key):  # what has no name of a key is not ours
            yield BlobInfo(key, each["Size"], etag_of(each.get("ETag")))


def _is_key(text: str) -> bool:
    try:
        check_key(text)
    except BadBlobKey:
        return False
    return True
