"""Announced uploads in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from lib.storage.memory.blob_refs import MemoryBlobRefs
from lib.storage.ports import UploadNotFound
from lib.storage.records import Upload


class MemoryUploadStore:
    """An UploadStore.

    Args:
        refs: Shared with the run store, which hands out blobs nobody names.
    """

    def __init__(self, refs: MemoryBlobRefs | None = None) -> None:
        self._lock = threading.RLock()
        self._refs = refs or MemoryBlobRefs()
        self._uploads: dict[str, Upload] = {}

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

    def mark_used(self, upload_ids: Sequence[str], *, at: datetime) -> None:
        """Record that runs use these uploads, which keeps them; idempotent."""
        with self._lock:
            uploads = [self.get(upload_id) for upload_id in upload_ids]
            for upload in uploads:
                self._uploads[upload.id] = replace(upload, used_at=upload.used_at or at)

    def delete_expired(self, *, now: datetime) -> list[Upload]:
        """Delete uploads that nobody used by `expires_at`; return them."""
        with self._lock:
            gone = [
                upload
                for upload in self._uploads.values()
                if upload.used_at is None and upload.expires_at <= now
            ]
            for upload in gone:
                del self._uploads[upload.id]
                self._refs.remove(upload.id)
            return sorted(gone, key=lambda upload: (upload.expires_at, upload.id))
