"""Log lines in SQLite: one row for each append."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from lib.storage.documents import LOG_LINES
from lib.storage.records import LogLevel, LogLine
from lib.storage.severity import severity
from lib.storage.sqlite.database import SqliteDatabase

MAX_DELETED_CHUNKS: Final = 100  # of one transaction; a chunk has up to 1 MiB
COMPRESS_FROM_BYTES: Final = 2048  # below, zlib saves less than a page
_FASTEST: Final = 1
_ZLIB: Final = 0x78  # a zlib stream's first byte; JSON starts with `[`

LAST_SEQ = """
SELECT last_seq FROM log_chunks INDEXED BY log_chunks_by_run
WHERE run_id = ? ORDER BY last_seq DESC LIMIT 1
"""
LIST_CHUNKS = """
SELECT lines FROM log_chunks INDEXED BY log_chunks_by_run
WHERE run_id = ? AND last_seq > ? AND severity >= ? ORDER BY last_seq
"""
LIST_LAST_CHUNKS = """
SELECT lines FROM log_chunks INDEXED BY log_chunks_by_run
WHERE run_id = ? ORDER BY last_seq DESC
"""
_APPEND = "INSERT INTO log_chunks (run_id, last_seq, severity, lines) VALUES (?, ?, ?, ?)"
DELETE_SOME = """
DELETE FROM log_chunks WHERE row IN (
    SELECT row FROM log_chunks INDEXED BY log_chunks_by_run WHERE run_id = ? LIMIT ?
)
"""

_Chunk = tuple[int, int, bytes]


class SqliteLogStore:
    """A LogStore whose rows are chunks of lines, compressed where it pays."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Add lines, in ascending `seq`, above all that are there."""
        if not lines:
            return
        chunk = _encode(lines)  # here, not in the writer, whose time all callers share
        self._database.write(lambda connection: _append(connection, run_id, lines, chunk))

    def tail(self, run_id: str, *, limit: int) -> list[LogLine]:
        """Return the last lines, oldest first."""
        newest: list[LogLine] = []
        with self._database.reading() as connection:
            for (chunk,) in connection.execute(LIST_LAST_CHUNKS, (run_id,)):
                if len(newest) >= limit:
                    break
                newest.extend(reversed(_decode(chunk)))
        return newest[:limit][::-1]

    def last_seq(self, run_id: str) -> int:
        """Return the highest `seq` stored, 0 when there is none."""
        with self._database.reading() as connection:
            return _last_seq(connection, run_id)

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete all lines of these runs, in transactions none of which is long."""
        left = [*run_ids]
        while left:
            left = left[self._database.write(partial(_delete_some, run_ids=left)) :]

    def list(
        self, run_id: str, *, after: int = 0, limit: int, level: LogLevel | None = None
    ) -> list[LogLine]:
        """Return lines with `seq` above `after`, oldest first."""
        least = severity(level or "debug")
        with self._database.reading() as connection:
            chunks = connection.execute(LIST_CHUNKS, (run_id, after, least))
            return [*islice(_wanted(chunks, after, least), limit)]


def append(connection: sqlite3.Connection, run_id: str, lines: Sequence[LogLine]) -> None:
    """Add a few lines, as SqliteLogStore.append does."""
    if lines:
        _append(connection, run_id, lines, _encode(lines))


def _append(
    connection: sqlite3.Connection, run_id: str, lines: Sequence[LogLine], chunk: _Chunk
) -> None:
    """Add lines, `chunk` being all of them encoded."""
    last = _last_seq(connection, run_id)
    if last < lines[0].seq:
        connection.execute(_APPEND, (run_id, *chunk))
    elif new := [line for line in lines if line.seq > last]:
        connection.execute(_APPEND, (run_id, *_encode(new)))


def _last_seq(connection: sqlite3.Connection, run_id: str) -> int:
    row: tuple[int] | None = connection.execute(LAST_SEQ, (run_id,)).fetchone()
    return row[0] if row else 0


def _delete_some(connection: sqlite3.Connection, run_ids: Sequence[str]) -> int:
    """Delete chunks of the first of these runs; return how many runs have none any more."""
    left = MAX_DELETED_CHUNKS
    for number, run_id in enumerate(run_ids):
        left -= connection.execute(DELETE_SOME, (run_id, left)).rowcount
        if left == 0:
            return number
    return len(run_ids)


def _encode(lines: Sequence[LogLine]) -> _Chunk:
    """Return a chunk's last seq, highest severity and bytes."""
    data = LOG_LINES.encode(tuple(lines)).encode()
    if len(data) >= COMPRESS_FROM_BYTES:
        data = zlib.compress(data, _FASTEST)
    return lines[-1].seq, max(severity(line.level) for line in lines), data


def _decode(chunk: bytes) -> tuple[LogLine, ...]:
    return LOG_LINES.decode(zlib.decompress(chunk) if chunk[0] == _ZLIB else chunk)


def _wanted(chunks: sqlite3.Cursor, after: int, least: int) -> Iterator[LogLine]:
    for (chunk,) in chunks:
        for line in _decode(chunk):
            if line.seq > after and severity(line.level) >= least:
                yield line
