"""The body of a small request, counted while it is read (RFC 9112, section 6)."""

from __future__ import annotations

import re
from typing import Final

from lib.sandbox.gate.connection import Connection, TooLong
from lib.sandbox.gate.head import MAX_FIELDS, BadHead, Head

_MAX_LINE_BYTES: Final = 256
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~]*)?")


async def read_body(source: Connection, head: Head, cap_bytes: int) -> bytes:
    """Return a request's whole body.

    Raises:
        TooLong: it is over the cap, declared or not.
        BadHead: its end cannot be told for certain.
        Closed: it is incomplete.
    """
    coding = head.find("transfer-encoding")
    length = head.find("content-length")
    if coding is None:
        return await source.read_exactly(_length(length, cap_bytes))
    if length is not None or coding.lower() != "chunked":
        raise BadHead("send the body with Content-Length, or chunked, and not both")
    return await _read_chunks(source, cap_bytes)


def _length(text: str | None, cap_bytes: int) -> int:
    if text is None:
        return 0
    if not _LENGTH.fullmatch(text):
        raise BadHead("the Content-Length is malformed")
    if int(text) > cap_bytes:
        raise TooLong
    return int(text)


async def _read_chunks(source: Connection, cap_bytes: int) -> bytes:
    body = bytearray()
    while size := await _chunk_size(source):
        if len(body) + size > cap_bytes:
            raise TooLong
        body += await source.read_exactly(size)
        if await source.read_exactly(2) != b"\r\n":
            raise BadHead("a chunk is longer than it says")
    for _ in range(MAX_FIELDS):  # trailers, of which we know none
        if not await source.read_until(b"\r\n", _MAX_LINE_BYTES):
            return bytes(body)
    raise BadHead("there are too many trailers")


async def _chunk_size(source: Connection) -> int:
    match = _CHUNK.fullmatch(await source.read_until(b"\r\n", _MAX_LINE_BYTES))
    if match is None:
        raise BadHead("a chunk's size is malformed")
    return int(match[1], 16)
