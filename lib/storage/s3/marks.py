"""What objects carry and answers say beside the bytes: etags, times, hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lib.clock import to_milliseconds
from lib.storage.s3.answers import DamagedAnswer

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# Of the objects' own metadata, so that they stay with the bytes they are about.
_SHA256: Final = "floom-sha256"
_PUT_AT: Final = "floom-put-at"  # milliseconds: S3 itself dates by the second, and by its clock
# Within the quotes. Others than these are not sent: `*` would match everything.
_ETAG: Final = re.compile(r"[A-Za-z0-9._:+/=-]{1,256}\Z")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}\Z")


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object without its bytes.

    Attributes:
        size: In bytes.
        etag: Without quotes.
        sha256: Of the bytes, in hex; None when others put them.
        put_at: When it was put or touched, in milliseconds since the epoch.
    """

    size: int
    etag: str
    sha256: str | None
    put_at: int


def head_of(answer: HeadObjectOutputTypeDef) -> Head:
    """Read an answer to HEAD. Raises DamagedAnswer."""
    ours = _lowered(answer["Metadata"]).get(_PUT_AT, "")
    dated = int(ours) if _MILLISECONDS.match(ours) else to_milliseconds(answer["LastModified"])
    return Head(
        size=answer["ContentLength"],
        etag=etag_of(answer.get("ETag")),
        sha256=sha256_of(answer["Metadata"]),
        put_at=dated,
    )


def metadata_of(sha256: str | None, put_at: datetime) -> dict[str, str]:
    """Return what is put with an object; without a hash where none is known."""
    known = {} if sha256 is None else {_SHA256: sha256}
    return {**known, _PUT_AT: str(to_milliseconds(put_at))}


def sha256_of(metadata: Mapping[str, str]) -> str | None:
    """Return the hash that an object was put with; None when others put it."""
    return _lowered(metadata).get(_SHA256)


def is_etag(etag: str) -> bool:
    """Return whether S3 can have given this etag."""
    return _ETAG.match(etag) is not None


def quoted(etag: str) -> str:
    """Return an etag as headers have it."""
    return f'"{etag}"'


def etag_of(header: str | None) -> str:
    """Return an etag without its quotes. Raises DamagedAnswer when there is none."""
    etag = (header or "").removeprefix('"').removesuffix('"')
    if not is_etag(etag):
        raise DamagedAnswer
    return etag


def _lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Some servers write header names in their own way."""
    return {name.lower(): value for name, value in metadata.items()}
