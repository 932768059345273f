"""Git's commit objects: what we write into them, and what we read of any."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

MAX_SUBJECT: Final = 72  # characters
COMMITTER_NAME: Final = "Floom"
COMMITTER_EMAIL: Final = "floom@local"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_TRAILER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}\Z")
_STAMP: Final = re.compile(rb"> (-?\d{1,18}) [+-]\d+\Z")


@dataclass(frozen=True)
class Author:
    """Who a change is by. Odd characters are taken out when it is written."""

    name: str
    email: str

    def encode(self) -> bytes:
        """Return `Name <e-mail>` as a commit holds it; never empty parts."""
        name = _clean_identity(self.name) or "unknown"
        email = _clean_identity(self.email).replace(" ", "") or "unknown@floom.local"
        return f"{name} <{email}>".encode()


FLOOM: Final = Author(COMMITTER_NAME, COMMITTER_EMAIL)


@dataclass(frozen=True)
class CommitInfo:
    """What a commit's header says.

    Attributes:
        tree: Id of its tree.
        parents: Ids; the first is the line that main moved along.
        author: `Name <e-mail>`, as written.
        committed_at: The committer's time, to the second; the epoch where the
            header cannot be read.
        message: All of it, undecodable bytes replaced.
    """

    tree: str
    parents: tuple[str, ...]
    author: str
    committed_at: datetime
    message: str


def encode_commit(
    *,
    tree: str,
    parent: str | None,
    author: Author,
    at: datetime,
    message: str,
    txn: bool = True,
    merged: str | None = None,
) -> bytes:
    """Return a commit's bytes.

    `at` is the time of author and committer, `message` as `compose_message`
    returns it. `txn` adds a random header line: without it two equal changes in
    one second would be the same commit. `merged` is a second parent.
    """
    seconds = int(at.timestamp())
    lines = [b"tree " + tree.encode()]
    if parent is not None:
        lines.append(b"parent " + parent.encode())
    if merged is not None:
        lines.append(b"parent " + merged.encode())
    lines.append(b"author %s %d +0000" % (author.encode(), seconds))
    lines.append(b"committer %s %d +0000" % (FLOOM.encode(), seconds))
    if txn:
        lines.append(b"floom-txn " + secrets.token_hex(8).encode())
    return b"\n".join(lines) + b"\n\n" + message.encode()


def compose_message(subject: str, trailers: Mapping[str, str] | None = None) -> str:
    """Return subject and trailers as a commit message.

    Only the first line of `subject` counts, without control characters, cut to
    `MAX_SUBJECT`; a trailer's value becomes one line.

    Raises:
        ValueError: the subject is empty, or a trailer's key is not a word.
    """
    line = _one_line((subject.strip().splitlines() or [""])[0])
    if not line:
        raise ValueError("a commit needs a subject")
    if len(line) > MAX_SUBJECT:
        line = line[: MAX_SUBJECT - 1].rstrip() + "…"
    rows = [_trailer(key, value) for key, value in (trailers or {}).items()]
    return "\n".join([line, "", *rows, ""]) if rows else line + "\n"


def parse_commit(raw: bytes) -> CommitInfo:
    """Read any commit; a header that git itself would doubt gives defaults."""
    header, _, message = raw.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in header.split(b"\n"):
        key, _, value = line.partition(b" ")
        fields.setdefault(key, []).append(value)
    return CommitInfo(
        tree=fields[b"tree"][0].decode("ascii"),
        parents=tuple(parent.decode("ascii") for parent in fields.get(b"parent", [])),
        author=_identity(fields.get(b"author", [b""])[0]),
        committed_at=_time(fields.get(b"committer", [b""])[0]),
        message=message.decode("utf-8", "replace"),
    )


def _trailer(key: str, value: str) -> str:
    if not _TRAILER.match(key):
        raise ValueError(f"{key!r} cannot be the key of a trailer")
    return f"{key}: {_one_line(value)}"


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()


def _clean_identity(text: str) -> str:
    return _one_line(re.sub("[<>]", "", text))


def _identity(value: bytes) -> str:
    return value[: value.rfind(b">") + 1].decode("utf-8", "replace")


def _time(value: bytes) -> datetime:
    found = _STAMP.search(value)
    try:
        return datetime.fromtimestamp(int(found[1]) if found else 0, UTC)
    except (ValueError, OverflowError, OSError):  # a year that Python cannot hold
        return datetime.fromtimestamp(0, UTC)
