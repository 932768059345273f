"""Uploads: bytes for file inputs, announced first and checked on arrival."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from lib.bootstrap import Services, lambda_handler
from lib.runs.uploads import MAX_UPLOAD_BYTES, Announcement, UploadConflict
from lib.storage.records import Upload
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.media import Media
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Uploads"
MAX_NAME_BYTES: Final = 255  # of file systems


def _file_name(name: str) -> str:
    if name in {".", ".."} or any(ord(each) < 32 or each in "/\\\x7f" for each in name):
        raise ValueError("must be a plain file name without slashes or control characters")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"must have at most {MAX_NAME_BYTES} bytes")
    return name


class NewUpload(RequestModel):
    """Bytes that will be sent."""

    name: Annotated[str, AfterValidator(_file_name)] = Field(
        min_length=1, max_length=200, examples=["orders.csv"]
    )
    size: int = Field(ge=0, le=MAX_UPLOAD_BYTES, description="In bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the bytes, in lower-case hex.")
    media_type: str = Field(
        "application/octet-stream",
        max_length=127,
        pattern=r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$",
        examples=["text/csv"],
    )


class UploadView(ResponseModel):
    """Where to send the bytes, and until when."""

    id: str = Field(description="The value of a file input.")
    put_url: str
    expires_at: Timestamp


class Uploads:
    """Announcing uploads and sending their bytes."""

    def __init__(self, services: Services) -> None:
        self._uploads = services.uploads
        self._base_url = services.base_url

    @operation(
        "createUpload",
        access=Access.MEMBER,
        summary="Announce bytes for a file input",
        body=NewUpload,
        responses={201: UploadView},
        errors=["validation_failed"],
    )
    async def on_post(self, call: Call[None, NewUpload]) -> UploadView:
        """An upload that no run uses within 24 hours is deleted."""
        announcement = Announcement(**call.body.model_dump())
        upload = await blocking(self._uploads.announce, announcement, by=call.principal.user_id)
        return self._view(upload)

    @operation(
        "putUpload",
        access=Access.MEMBER,
        summary="Send the announced bytes",
        body=Media("*/*"),
        body_cap_bytes=MAX_UPLOAD_BYTES,
        responses={204: None},
        errors=["upload_not_found", "upload_conflict", "payload_too_large", "validation_failed"],
    )
    async def on_put_item(self, call: Call[None, None], upload_id: str) -> Reply:
        """Size and SHA-256 must be those announced; otherwise nothing is kept."""
        upload = await blocking(self._uploads.get, upload_id)
        if upload.received_at is not None:
            raise UploadConflict(f"The bytes of upload {upload_id} are there already.")
        receiver = await blocking(self._uploads.receive, upload)
        try:
            async for chunk in call.chunks():
                await blocking(receiver.write, chunk)
            await blocking(self._uploads.keep, receiver)
        finally:
            await blocking(receiver.close)
        return Reply(status=204)

    def _view(self, upload: Upload) -> UploadView:
        put_url = f"{self._base_url}/uploads/{upload.id}"
        return UploadView(id=upload.id, put_url=put_url, expires_at=upload.expires_at)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    uploads = Uploads(services)
    return [
        Route("/uploads", uploads, tag=TAG),
        Route("/uploads/{upload_id}", uploads, "item", tag=TAG),
    ]


handler = lambda_handler(routes)
