"""Comments of one issue: a JSON object a line, appended and never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lib.clock import rfc3339

MAX_FILE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said about an issue."""

    id: str
    body: str
    created_by: str
    created_at: datetime


def encode(comment: Comment) -> bytes:
    """Return a comment's line."""
    row = {
        "id": comment.id,
        "body": comment.body,
        "created_by": comment.created_by,
        "created_at": rfc3339(comment.created_at),
    }
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def decode(data: bytes) -> tuple[Comment, ...]:
    """Return the comments of a file, in its order; lines that are none are left out."""
    found = (_comment(line) for line in data[:MAX_FILE_BYTES].split(b"\n") if line.strip())
    return tuple(comment for comment in found if comment is not None)


def append(data: bytes, comment: Comment) -> bytes:
    """Return a file with one more comment; what is there stays, byte for byte."""
    separator = b"\n" if data and not data.endswith(b"\n") else b""
    return data + separator + encode(comment)


def _comment(line: bytes) -> Comment | None:
    try:
        row = json.loads(line)
        comment_id, body, by = row["id"], row["body"], row["created_by"]
        at = datetime.fromisoformat(row["created_at"])
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    if not all(map(_is_text, (comment_id, body, by))):
        return None
    return Comment(comment_id, body, by, at)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no answer can hold
        return False
    return True
