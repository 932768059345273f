"""An answer as the bytes of HTTP/1.1, for what no application is asked about."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from lib.web import headers
from lib.web.media import PROBLEM_JSON
from lib.web.problems import Failure


class RawAnswer(NamedTuple):
    """The two parts; an answer to HEAD is the first alone."""

    head: bytes
    body: bytes


def raw_answer(failure: Failure, request_id: str, *, is_secure: bool) -> RawAnswer:
    """Return a failure's answer, after which the connection ends (RFC 9112, 9.6)."""
    body = failure.render(request_id)
    fields = headers.complete(
        [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ],
        request_id.encode(),
        is_secure=is_secure,
    )
    status = HTTPStatus(failure.status)
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [b"%b: %b" % field for field in fields]
    return RawAnswer(b"\r\n".join(lines) + b"\r\n\r\n", body)
