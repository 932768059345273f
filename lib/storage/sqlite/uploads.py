"""Announced uploads in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.documents import UPLOADS
from lib.storage.ports import UploadNotFound
from lib.storage.records import RunRecord, Upload
from lib.storage.sqlite import blob_refs
from lib.storage.sqlite.database import SqliteDatabase

GET = "SELECT document FROM uploads WHERE id = ?"
LIST_EXPIRED = """
SELECT document FROM uploads INDEXED BY uploads_unused
WHERE unused_until IS NOT NULL AND unused_until <= ? ORDER BY unused_until LIMIT ?
"""
IS_USED = """
SELECT 1 FROM upload_uses INDEXED BY upload_uses_by_upload WHERE upload_id = ? LIMIT 1
"""
_INSERT = "INSERT INTO uploads (unused_until, document, id) VALUES (?, ?, ?)"
_UPDATE = "UPDATE uploads SET unused_until = ?, document = ? WHERE id = ?"
_DELETE = "DELETE FROM uploads WHERE id = ?"
_USE = "INSERT OR IGNORE INTO upload_uses (run_id, upload_id) VALUES (?, ?)"
_RELEASE = "DELETE FROM upload_uses WHERE run_id = ? RETURNING upload_id"


class SqliteUploadStore:
    """An UploadStore; an upload names its blob until it is deleted."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def create(self, upload: Upload) -> None:
        """Insert an upload."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, _columns(upload))
            blob_refs.replace(connection, upload.id, "", {upload.sha256})

        self._database.write(operation)

    def get(self, upload_id: str) -> Upload:
        """Return an upload. Raises UploadNotFound."""
        with self._database.reading() as connection:
            return _load(connection, upload_id)

    def mark_received(self, upload_id: str, *, at: datetime) -> Upload:
        """Record that the bytes are there; idempotent. Raises UploadNotFound."""
        return self._database.write(
            lambda connection: _change(
                connection,
                upload_id,
                lambda upload: replace(upload, received_at=upload.received_at or at),
            )
        )

    def delete_expired(self, *, now: datetime, limit: int) -> list[Upload]:
        """Delete up to `limit` uploads that no run used by `expires_at`; return them."""

        def operation(connection: sqlite3.Connection) -> list[Upload]:
            rows = connection.execute(LIST_EXPIRED, (to_milliseconds(now), limit)).fetchall()
            gone = [UPLOADS.decode(row[0]) for row in rows]
            for upload in gone:
                _delete(connection, upload.id)
            return gone

        return self._database.write(operation)


def use(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Record that a new run uses its uploads. Raises UploadNotFound."""
    for upload_id in run.uploads:
        _change(
            connection,
            upload_id,
            lambda upload: replace(upload, used_at=upload.used_at or run.created_at),
        )
        connection.execute(_USE, (run.id, upload_id))


def release(connection: sqlite3.Connection, run_id: str) -> None:
    """Delete the uploads that only this run used."""
    for (upload_id,) in connection.execute(_RELEASE, (run_id,)).fetchall():
        if connection.execute(IS_USED, (upload_id,)).fetchone() is None:
            _delete(connection, upload_id)


def _delete(connection: sqlite3.Connection, upload_id: str) -> None:
    connection.execute(_DELETE, (upload_id,))
    blob_refs.remove(connection, upload_id)


def _load(connection: sqlite3.Connection, upload_id: str) -> Upload:
    row = connection.execute(GET, (upload_id,)).fetchone()
    if row is None:
        raise UploadNotFound(f"There is no upload {upload_id}, or it has expired.")
    return UPLOADS.decode(row[0])


def _change(
    connection: sqlite3.Connection, upload_id: str, decide: Callable[[Upload], Upload]
) -> Upload:
    upload = decide(_load(connection, upload_id))
    connection.execute(_UPDATE, _columns(upload))
    return upload


def _columns(upload: Upload) -> tuple[int | None, str, str]:
    unused_until = to_milliseconds(upload.expires_at) if upload.used_at is None else None
    return unused_until, UPLOADS.encode(upload), upload.id
