"""Announced uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from lib.errors import NotFound
from lib.storage.records import Upload


class UploadNotFound(NotFound):
    """No upload has this id, or it has expired."""

    code = "upload_not_found"


class UploadStore(Protocol):
    """Announced uploads; their bytes are blobs by content hash.

    RunStore.create records which runs use an upload, in its own transaction.
    """

    def create(self, upload: Upload) -> None:
        """Insert an upload."""
        ...

    def get(self, upload_id: str) -> Upload:
        """Return an upload. Raises UploadNotFound."""
        ...

    def mark_received(self, upload_id: str, *, at: datetime) -> Upload:
        """Record that the bytes are there; idempotent. Raises UploadNotFound."""
        ...

    def delete_expired(self, *, now: datetime, limit: int) -> list[Upload]:
        """Delete up to `limit` uploads that no run used by `expires_at`; return them.

        Their bytes may be somebody else's, too, and are not touched. Used ones
        go with the last run that names them: RunStore.delete.
        """
        ...
