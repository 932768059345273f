"""Where a store of blobs is: a folder, or below a prefix of a bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

FORMS: Final = "s3://bucket/prefix or file:///folder"
MAX_PREFIX: Final = 256  # of the 1,024 that S3 has for a whole key
# S3's rules for buckets, and those of lib/storage/keys.py for what is before a key.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._=+-]*"
_PREFIX: Final = re.compile(rf"(?:{_SEGMENT}(?:/{_SEGMENT})*)?\Z")


class BadBlobAddress(ValueError):
    """The text is no address of a store of blobs."""


@dataclass(frozen=True, slots=True)
class FolderAddress:
    """A folder of this host.

    Attributes:
        path: Absolute, without dots.
    """

    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A part of a bucket.

    Attributes:
        bucket: Its name.
        prefix: What is before each key, without slashes at its ends; may be empty.
    """

    bucket: str
    prefix: str


def parse_blob_address(text: str) -> FolderAddress | BucketAddress:
    """Read an address.

    Raises:
        BadBlobAddress: it is of another form; the message does not repeat it, as
            there may be a password in it.
    """
    if any(ord(each) < 33 or ord(each) == 127 for each in text):
        raise BadBlobAddress(f"must look like {FORMS}, without blanks (%20 in a folder's name)")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadBlobAddress(f"must look like {FORMS}") from None
    if "?" in text or "#" in text:
        raise BadBlobAddress(f"must look like {FORMS}, without ? and #")
    if "@" in parts.netloc:
        raise BadBlobAddress("must hold no credentials: they are read from where AWS's tools do")
    if parts.scheme == "s3":
        return _bucket_of(parts.netloc, parts.path)
    if parts.scheme == "file":
        return _folder_of(parts.netloc, parts.path)
    raise BadBlobAddress(f"must look like {FORMS}")


def _bucket_of(bucket: str, path: str) -> BucketAddress:
    if not _BUCKET.match(bucket) or ".." in bucket:
        raise BadBlobAddress(
            "must name a bucket after s3://: 3 to 63 of a-z 0-9 . -; the address of a server "
            "other than AWS is AWS_ENDPOINT_URL_S3"
        )
    prefix = path.removeprefix("/").removesuffix("/")
    if len(prefix) > MAX_PREFIX or not _PREFIX.match(prefix):
        raise BadBlobAddress(
            f"must have a prefix of at most {MAX_PREFIX} of A-Z a-z 0-9 . _ = + - after the "
            "bucket, in parts between single slashes that do not start with . = + -"
        )
    return BucketAddress(bucket, prefix)


def _folder_of(host: str, path: str) -> FolderAddress:
    folder = _decoded(path)
    parts = folder.split("/")
    if host or not folder.startswith("/") or ".." in parts or "." in parts or "\0" in folder:
        raise BadBlobAddress("must name an absolute folder, such as file:///srv/floom/bundles")
    clean = PurePosixPath("/", *parts)
    if clean == PurePosixPath("/"):
        raise BadBlobAddress("must name a folder of its own, not the root of the host")
    return FolderAddress(clean)


def _decoded(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise BadBlobAddress("must have UTF-8 behind its % signs") from None
