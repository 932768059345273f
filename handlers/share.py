"""Sharing a worker by a public link, and copying one that was shared."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from handlers.authors import author_of
from handlers.warnings import warning_headers
from lib.bootstrap import Services, lambda_handler
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.models import RequestModel, ResponseModel
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.threads import blocking
from lib.workspace.git_paths import shown
from lib.workspace.sharing import Copy, Outline

TAG: Final = "Workers"


class ShareView(ResponseModel):
    """A public link."""

    token: str
    url: str


class SharedFile(ResponseModel):
    """A file of a shared worker."""

    path: str
    size: int


class OutlineView(ResponseModel):
    """What anybody with the link sees."""

    title: str
    description: str
    files: list[SharedFile] = Field(description="The first 500, by path.")
    has_more_files: bool = Field(description="There are others; it cannot be copied.")


class ImportShare(RequestModel):
    """A worker to copy."""

    token: str = Field(max_length=64, examples=["fls_4xA9mQ2vT7bN1cR8wK5jL0pZ"])


class SkippedFileView(ResponseModel):
    """A file that was left out."""

    path: str
    reason: str


class CopyView(ResponseModel):
    """A worker that was copied."""

    worker_id: str
    url: str
    skipped_files: list[SkippedFileView]
    id_remapped_from: str | None = Field(description="The id that was taken here.")


class WorkerShare:
    """The link of one worker."""

    def __init__(self, services: Services) -> None:
        self._sharing = services.sharing
        self._base_url = services.base_url

    @operation(
        "shareWorker",
        access=Access.MEMBER,
        summary="Share a worker by a link",
        responses={200: ShareView},
        errors=["worker_not_found"],
    )
    async def on_post(self, call: Call[None, None], worker_id: str) -> ShareView:
        """The link leads to the version of now. Sharing again moves it, the token stays."""
        share = await blocking(self._sharing.share, worker_id, by=call.principal.user_id)
        return ShareView(token=share.token, url=f"{self._base_url}/share/{share.token}")

    @operation(
        "unshareWorker",
        access=Access.MEMBER,
        summary="Revoke a worker's link",
        responses={204: None},
        errors=["worker_not_found"],
    )
    async def on_delete(self, _call: Call[None, None], worker_id: str) -> Reply:
        """From then on the link is unknown; copies that were made stay."""
        await blocking(self._sharing.revoke, worker_id)
        return Reply(status=204)


class PublicShare:
    """What a link shows to anybody."""

    def __init__(self, services: Services) -> None:
        self._sharing = services.sharing

    @operation(
        "getShare",
        access=Access.PUBLIC,
        summary="A shared worker in outline",
        responses={200: OutlineView},
        errors=["share_not_found"],
    )
    async def on_get(self, _call: Call[None, None], token: str) -> OutlineView:
        """Title, description and names of files; no contents, and no sign-in."""
        return _outline_view(await blocking(self._sharing.outline, token))


class ShareImport:
    """Copying a shared worker."""

    def __init__(self, services: Services) -> None:
        self._sharing = services.sharing
        self._base_url = services.base_url

    @operation(
        "importShare",
        access=Access.MEMBER,
        summary="Copy a shared worker",
        body=ImportShare,
        responses={201: CopyView},
        errors=[
            "share_not_found", "share_too_large", "worker_broken", "workspace_conflict",
            "validation_failed",
        ],
    )  # fmt: skip
    async def on_post(self, call: Call[None, ImportShare]) -> Reply:
        """One commit. The copy is in quarantine until an administrator enables it.

        Files that may hold secrets are left out. Where the id is taken the copy
        gets another, `-2`, `-3`, ..., and its manifest's name follows.
        """
        author = author_of(call.principal)
        made = await blocking(self._sharing.copy, call.body.token, author)
        url = f"{self._base_url}/workers/{made.worker_id}"
        headers = {"location": f"/workers/{made.worker_id}", **warning_headers(made.findings)}
        return Reply(_copy_view(made, url), 201, headers)


def _outline_view(outline: Outline) -> OutlineView:
    files = [SharedFile(path=shown(each.path), size=each.size) for each in outline.files]
    return OutlineView(
        title=outline.title,
        description=outline.description,
        files=files,
        has_more_files=outline.has_more,
    )


def _copy_view(made: Copy, url: str) -> CopyView:
    return CopyView(
        worker_id=made.worker_id,
        url=url,
        skipped_files=[SkippedFileView.model_validate(each) for each in made.skipped],
        id_remapped_from=made.remapped_from,
    )


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [
        Route("/workers/import-from-share", ShareImport(services), tag=TAG),
        Route("/workers/{worker_id}/share", WorkerShare(services), tag=TAG),
        Route("/share/{token}", PublicShare(services), tag=TAG),
    ]


handler = lambda_handler(routes)
