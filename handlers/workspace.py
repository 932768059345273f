"""The whole workspace as a zip: out, and in."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import falcon
from falcon.media.multipart import MultipartFormHandler
from pydantic import AwareDatetime, Field, field_validator

from handlers.authors import author_of
from handlers.idempotency import once_in_git
from handlers.uploaded_zip import uploaded_zip
from handlers.warnings import warning_headers
from lib.bootstrap import Services, lambda_handler
from lib.errors import MalformedRequest
from lib.web import body as json_body
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.files import OpenFile
from lib.web.media import JSON, Media, essence
from lib.web.models import RequestModel, ResponseModel
from lib.web.operation import operation
from lib.web.rate_limits import RateLimit
from lib.web.route import Route
from lib.web.threads import blocking
from lib.workspace.export import export
from lib.workspace.import_ import ImportReport, WorkspaceImport
from lib.workspace.zip_reader import BadBundle, ZipLimits, read_zip

TAG: Final = "Workspace"
ZIP: Final = "application/zip"
FORM: Final = "multipart/form-data"
LIMITS: Final = ZipLimits()
EXPORTS: Final = RateLimit(30, per_seconds=3600)  # each reads the whole workspace
BODY_CAP_BYTES: Final = LIMITS.packed_bytes + 64 * 1024  # and what a form puts around it
FILE_NAME: Final = "workspace.zip"
FIELD: Final = "bundle"


class ExportQuery(RequestModel):
    """What the summary of the export says."""

    exported_at: AwareDatetime | None = Field(
        None, description="Instead of the time of the newest commit."
    )

    @field_validator("exported_at")
    @classmethod
    def _in_utc(cls, at: datetime | None) -> datetime | None:
        try:
            return at and at.astimezone(UTC)
        except OverflowError:
            raise ValueError("must be a time that UTC has") from None


class ImportQuery(RequestModel):
    """How to import."""

    dry_run: bool = Field(False, description="Tell what would be imported, and write nothing.")


class UploadedBundle(RequestModel):
    """A zip that was uploaded."""

    upload_id: str = Field(max_length=64)


class LeftOutView(ResponseModel):
    """Something that was not imported."""

    type: str
    id: str
    reason: str


class ImportView(ResponseModel):
    """What an import did, or would do."""

    dry_run: bool
    workers_imported: list[str] = Field(description="Under the ids that they have here.")
    contexts_imported: list[str]
    issues_imported: list[str]
    skipped: list[LeftOutView]
    id_remaps: dict[str, str] = Field(description="Ids that were taken, and those given instead.")
    required_secrets: list[str]
    required_connections: list[str]
    workspace_md_present: bool
    warnings: list[str] = Field(description="What looks like a live credential.")


class WorkspaceExport:
    """The way out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "exportWorkspace",
        access=Access.ADMIN,
        summary="Export the workspace",
        query=ExportQuery,
        responses={200: Media(ZIP)},
        errors=["validation_failed", "export_too_large"],
        limit=EXPORTS,
    )
    async def on_get(self, call: Call[ExportQuery, None]) -> Reply:
        """A zip of workers, contexts, instructions and issues; the same workspace, the same bytes.

        Without secrets, connections, runs, settings and git's history; files that
        are not in it are named in `left_out` of its `workspace.json` and counted in
        `x-floom-warning`. So is what looks like a live credential inside a file.
        An export that no import would take is refused.
        """
        made = await blocking(
            export,
            self._services.workspace,
            self._services.load_manifest,
            exported_at=call.query.exported_at,
            limits=LIMITS,
        )
        headers = {
            "content-disposition": f'attachment; filename="{FILE_NAME}"',
            "content-length": str(made.size),
            **warning_headers(made.findings, left_out=len(made.left_out)),
        }
        if call.is_head:
            made.file.close()
        return Reply(b"" if call.is_head else OpenFile(made.file), 200, headers, media_type=ZIP)


class WorkspaceImports:
    """The way in."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "importWorkspace",
        access=Access.ADMIN,
        summary="Import a workspace",
        query=ImportQuery,
        body=Media(ZIP, FORM, model=UploadedBundle),
        body_cap_bytes=BODY_CAP_BYTES,
        responses={200: ImportView},
        headers=["Idempotency-Key"],
        errors=[
            "bad_bundle", "payload_too_large", "upload_not_found", "unknown_schema_version",
            "validation_failed", "workspace_conflict", "idempotency_key_reused",
            "idempotency_key_in_use",
        ],
    )  # fmt: skip
    async def on_post(self, call: Call[ImportQuery, None]) -> Reply:
        """The zip as the body, as the field `bundle` of a form, or `{"upload_id"}` as JSON.

        One commit for all of it. Nothing that is here is overwritten: workers whose
        id is taken get another, contexts and issues that exist are skipped.
        Imported workers are in quarantine until an administrator enables them.
        """
        body = await call.read()
        data = await blocking(self._zip, call.request.content_type, body)
        return await blocking(self._import, call, data)

    def _zip(self, content_type: str | None, body: bytes) -> bytes:
        kind = essence(content_type)
        if kind == FORM:
            return _field_of(body, content_type or "")
        return self._uploaded(body) if kind == JSON else body

    def _uploaded(self, body: bytes) -> bytes:
        named = json_body.validate(UploadedBundle, body, json_body.parse(body))
        return uploaded_zip(self._services, named.upload_id, LIMITS)

    def _import(self, call: Call[ImportQuery, None], data: bytes) -> Reply:
        workspace = self._services.workspace
        incoming = WorkspaceImport(
            read_zip(data, LIMITS), load_manifest=self._services.load_manifest
        )
        if call.query.dry_run:
            preview = incoming.preview(workspace.view(workspace.refresh()))
            return Reply(_view(preview, dry_run=True))

        def effect(trailers: Mapping[str, str]) -> Reply:
            author = author_of(call.principal)
            return Reply(_view(incoming.commit(workspace, author, trailers), dry_run=False))

        def repeat(commit: str) -> Reply:
            parents = workspace.commit_info(commit).parents
            return Reply(_view(incoming.preview(workspace.view(parents[0])), dry_run=False))

        digest = hashlib.sha256(data).hexdigest()
        return once_in_git(
            call, (), self._services, effect=effect, repeat=repeat, body_digest=digest
        )


def _field_of(body: bytes, content_type: str) -> bytes:
    """Return the bytes of the form's one field."""
    try:
        form = MultipartFormHandler().deserialize(io.BytesIO(body), content_type, len(body))
        for part in form:
            if part.name == FIELD:
                found: bytes = part.stream.read()
                return found
    except (falcon.HTTPError, UnicodeDecodeError) as ex:
        raise MalformedRequest("The form cannot be read.") from ex
    raise BadBundle(f"The form has no field {FIELD}.")


def _view(report: ImportReport, *, dry_run: bool) -> ImportView:
    skipped: list[Any] = [LeftOutView.model_validate(each) for each in report.skipped]
    return ImportView(
        dry_run=dry_run,
        workers_imported=report.workers,
        contexts_imported=report.contexts,
        issues_imported=report.issues,
        skipped=skipped,
        id_remaps=report.id_remaps,
        required_secrets=sorted(report.required_secrets),
        required_connections=sorted(report.required_connections),
        workspace_md_present=report.workspace_md_present,
        warnings=report.warnings,
    )


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [
        Route("/workspace/export", WorkspaceExport(services), tag=TAG),
        Route("/workspace/import", WorkspaceImports(services), tag=TAG),
    ]


handler = lambda_handler(routes)
