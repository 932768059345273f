"""A zip that was sent as an upload, for the routes that take one."""

from __future__ import annotations

from lib.bootstrap import Services
from lib.storage.ports import UploadNotFound
from lib.workspace.zip_reader import BadBundle, ZipLimits


def uploaded_zip(services: Services, upload_id: str, limits: ZipLimits) -> bytes:
    """Return the bytes of an upload.

    Raises:
        UploadNotFound: it is unknown, expired, or its bytes were not sent.
        BadBundle: it is larger than such a zip may be.
    """
    upload = services.uploads.get(upload_id)
    if upload.received_at is None:
        raise UploadNotFound(f"The bytes of upload {upload_id} were not sent.")
    if upload.size > limits.packed_bytes:
        raise BadBundle(f"The zip has more than {limits.packed_bytes // 2**20} MiB.")
    return services.content.get(upload.sha256)
