"""Files that somebody else wrote, sent so that a browser cannot be misled by them.

Conditional and range requests are those of RFC 9110 sections 13 and 14, with
one range at a time; a `Range` that cannot be read is ignored, as it says.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import falcon

from lib.web.call import Call, Reply
from lib.web.threads import blocking

CHUNK_BYTES: Final = 256 * 1024
# Nothing in them can run; everything else is saved, not shown.
SHOWN_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
POLICY: Final = "sandbox; default-src 'none'"

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileReply:
    """A file to send.

    Attributes:
        etag: Changes with the content; a hash of it.
    """

    name: str
    media_type: str
    size: int
    etag: str


def file_reply(
    call: Call[Any, Any], file: FileReply, open_file: Callable[[], AbstractContextManager[BinaryIO]]
) -> Reply:
    """Return the answer with the file, the part of it that is asked for, or 304.

    Raises:
        falcon.HTTPRangeNotSatisfiable: nothing of the file is in the range.
    """
    headers = _headers(file)
    request = call.request
    if _names(request.get_header("If-None-Match"), headers["etag"]):
        return Reply(status=304, headers=headers)
    span = _span(request.get_header("Range"), file.size)
    if span is not None and not _may_send_part(request.get_header("If-Range"), headers["etag"]):
        span = None
    start, end = span or (0, file.size)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["content-length"] = str(end - start)
    body = b"" if call.is_head else _chunks(open_file, start, end)
    return Reply(body, 200 if span is None else 206, headers, _safe_type(file.media_type))


def _headers(file: FileReply) -> dict[str, str]:
    shown = file.media_type.partition(";")[0].strip().lower() in SHOWN_TYPES
    name = quote(file.name.rpartition("/")[2], safe="")
    return {
        "accept-ranges": "bytes",
        "content-disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "content-security-policy": POLICY,
        "cache-control": "private, no-cache",
        "etag": f'"{file.etag}"',
    }


def _safe_type(media_type: str) -> str:
    """Return a type that is fit for a header; the worker may have written anything."""
    is_fit = re.fullmatch(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.+-]+)*", media_type, re.ASCII)
    return media_type if is_fit else "application/octet-stream"


def _names(header: str | None, etag: str) -> bool:
    """Whether an `If-None-Match` header names the file; weak tags compare equal."""
    tags = [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]
    return etag in tags or "*" in tags


def _may_send_part(if_range: str | None, etag: str) -> bool:
    return if_range is None or if_range == etag


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end (exclusive) of a `Range` header, None for the whole file."""
    match = _RANGE.match(header or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if first and last and int(first) > int(last):
        return None  # not a range at all
    if start >= end:
        raise falcon.HTTPRangeNotSatisfiable(size)
    return start, end


async def _chunks(
    open_file: Callable[[], AbstractContextManager[BinaryIO]], start: int, end: int
) -> AsyncIterator[bytes]:
    manager = open_file()
    file = await blocking(manager.__enter__)
    try:
        await blocking(file.seek, start)
        left = end - start
        while left and (chunk := await blocking(file.read, min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
    finally:
        await blocking(manager.__exit__, None, None, None)


class OpenFile:
    """What is left of an open file, sent as it is read and closed with the answer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await blocking(self._file.read, CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def close(self) -> None:
        """Close the file; Falcon calls it when the answer ends, however it does."""
        await blocking(self._file.close)
