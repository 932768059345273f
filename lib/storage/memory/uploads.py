"""Announced uploads in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime

from lib.storage.memory.blob_refs import MemoryBlobReferences
from lib.storage.ports import UploadNotFound
from lib.storage.records import RunRecord, Upload


class MemoryUploadStore:
    """An UploadStore.

    Args:
        refs: Shared with the other stores whose records name blobs.
    """

    def __init__(self, refs: MemoryBlobReferences | None = None) -> None:
        self._lock = threading.RLock()
        self._refs = refs or MemoryBlobReferences()
        self._uploads: dict[str, Upload] = {}
        self._users: dict[str, set[str]] = {}

    def create(self, upload: Upload) -> None:
        """Insert an upload."""
        with self._lock:
            self._uploads[upload.id] = upload
            self._refs.replace(upload.id, "", {upload.sha256})

    def get(self, upload_id: str) -> Upload:
        """Return an upload. Raises UploadNotFound."""
        with self._lock:
            if upload_id not in self._uploads:
                raise UploadNotFound(f"There is no upload {upload_id}, or it has expired.")
            return self._uploads[upload_id]

    def mark_received(self, upload_id: str, *, at: datetime) -> Upload:
        """Record that the bytes are there; idempotent. Raises UploadNotFound."""
        with self._lock:
            upload = self.get(upload_id)
            self._uploads[upload_id] = replace(upload, received_at=upload.received_at or at)
            return self._uploads[upload_id]

    def use(self, run: RunRecord) -> None:
        """Record that a new run uses its uploads. Raises UploadNotFound."""
        with self._lock:
            uploads = [self.get(upload_id) for upload_id in run.uploads]
            for upload in uploads:
                used = replace(upload, used_at=upload.used_at or run.created_at)
                self._uploads[upload.id] = used
                self._users.setdefault(upload.id, set()).add(run.id)

    def release(self, run: RunRecord) -> None:
        """Delete the uploads that only this run used."""
        with self._lock:
            for upload_id in run.uploads:
                self._users[upload_id].discard(run.id)
                if not self._users[upload_id]:
                    self._delete(upload_id)

    def delete_expired(self, *, now: datetime, limit: int) -> list[Upload]:
        """Delete up to `limit` uploads that no run used by `expires_at`; return them."""
        with self._lock:
            gone = [
                upload
                for upload in self._uploads.values()
                if upload.used_at is None and upload.expires_at <= now
            ]
            gone = sorted(gone, key=lambda upload: (upload.expires_at, upload.id))[:limit]
            for upload in gone:
                self._delete(upload.id)
            return gone

    def _delete(self, upload_id: str) -> None:
        del self._uploads[upload_id]
        self._users.pop(upload_id, None)
        self._refs.remove(upload_id)
