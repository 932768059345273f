"""A worker's files, versions and end: each change is one commit."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from handlers.authors import writer_of
from handlers.uploaded_zip import uploaded_zip
from handlers.warnings import warning_headers
from handlers.worker_views import WorkerView, load_worker_view
from lib.bootstrap import Services, lambda_handler
from lib.errors import FieldError, Invalid
from lib.web.access import Access
from lib.web.answer import render
from lib.web.call import Call, PageReply, Reply
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking
from lib.workspace.git_paths import shown
from lib.workspace.registry import MANIFEST
from lib.workspace.secret_scan import scan_all
from lib.workspace.worker_source import (
    MAX_BYTES,
    MAX_FILES,
    Expected,
    Source,
    SourceFile,
    WorkerNotFound,
)
from lib.workspace.workspace import WorkerVersion
from lib.workspace.zip_reader import ZipLimits, read_zip

TAG: Final = "Workers"
BODY_CAP_BYTES: Final = 28 * 1024 * 1024
ZIP_LIMITS: Final = ZipLimits(
    packed_bytes=MAX_BYTES, entries=2 * MAX_FILES, unpacked_bytes=MAX_BYTES
)
Sha = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r"))
WRITE_ERRORS: Final = [
    "worker_not_found", "worker_conflict", "workspace_conflict", "capability_requires_admin",
    "secret_path",
]  # fmt: skip


class FileContent(RequestModel):
    """One file to save."""

    path: str = Field(max_length=1_024, examples=["run.py"])
    content: str
    encoding: Literal["utf-8", "base64"] = "utf-8"
    executable: bool = False


class FilesChange(RequestModel):
    """All files of a worker, as they should be."""

    files: list[FileContent] | None = Field(None, max_length=MAX_FILES)
    upload_id: str | None = Field(
        None, description="A zip of the folder that was uploaded, instead of `files`."
    )
    expected_sha: Sha | None = Field(
        None,
        description="The worker's `sha` that the change was made for; null: it must not exist yet.",
    )


class FileView(ResponseModel):
    """One file."""

    path: str
    content: str
    encoding: Literal["utf-8", "base64"]
    executable: bool


class FilesView(ResponseModel):
    """All files of a worker."""

    sha: str = Field(description="Tree id of the folder, for `expected_sha`.")
    files: list[FileView]
    others: list[str] = Field(description="Paths of symlinks and submodules; nothing follows them.")


class VersionView(ResponseModel):
    """A commit that changed the worker."""

    commit: str
    sha: str | None = Field(description="Tree id of the folder there; null: it deleted the worker.")
    message: str
    author: str
    committed_at: Timestamp


class Rollback(RequestModel):
    """Where to go back to."""

    commit: Sha


class WorkerFiles:
    """The files of one worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._source = services.worker_source

    @operation(
        "getWorkerFiles",
        access=Access.MEMBER,
        summary="Read a worker's files",
        responses={200: FilesView},
        errors=["worker_not_found", "worker_conflict"],
    )
    async def on_get(self, _call: Call[None, None], worker_id: str) -> Reply:
        """Every file with its exact content.

        As text where it is UTF-8 without control characters but tab and line ends, else as base64.
        """
        return await blocking(self._get, worker_id)

    def _get(self, worker_id: str) -> Reply:
        return Reply(render(_files_view(self._source.read(worker_id))))

    @operation(
        "putWorkerFiles",
        access=Access.MEMBER,
        summary="Replace a worker's files",
        body=FilesChange,
        body_cap_bytes=BODY_CAP_BYTES,
        responses={200: WorkerView, 201: WorkerView},
        errors=[
            *WRITE_ERRORS,
            "validation_failed",
            "upload_not_found",
            "bad_bundle",
            "payload_too_large",
        ],
    )
    async def on_put(self, call: Call[None, FilesChange], worker_id: str) -> Reply:
        """One commit: these files and no others are the worker's from then on.

        Creates the worker where there is none (201). The manifest is judged
        strictly, and nothing is saved where it does not hold. A worker that
        declares secrets, connections, calls or egress, before or after, needs an
        administrator. What looks like a live credential in a file is named in
        `x-floom-warning`.
        """
        return await blocking(self._put, call, worker_id)

    def _put(self, call: Call[None, FilesChange], worker_id: str) -> Reply:
        change = call.body
        files = _files(change) if change.upload_id is None else self._unzipped(change)
        try:
            is_new = self._source.replace(
                worker_id, files, writer=writer_of(call.principal), expected=_expected(change)
            )
        except Invalid as ex:
            if change.upload_id is None:
                raise
            raise _of_upload(ex) from ex
        self._services.early_installs.request([worker_id])
        findings = scan_all((file.path, file.data) for file in files)
        view = load_worker_view(self._services, worker_id)
        return Reply(view, 201 if is_new else 200, warning_headers(findings))

    def _unzipped(self, change: FilesChange) -> list[SourceFile]:
        if change.files is not None:
            detail = "Send files, or the id of a zip that was uploaded, not both."
            raise Invalid(detail, [FieldError("/upload_id", detail)])
        data = uploaded_zip(self._services, change.upload_id or "", ZIP_LIMITS)
        found = read_zip(data, ZIP_LIMITS)
        # A zip of the folder itself, as file managers make it.
        top = {file.path.partition("/")[0] + "/" for file in found}
        prefix = top.pop() if len(top) == 1 else ""
        if prefix + MANIFEST not in {file.path for file in found}:
            prefix = ""
        return [
            SourceFile(file.path.removeprefix(prefix), file.data, file.is_executable)
            for file in found
        ]


class WorkerVersions:
    """The history of one worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._workspace = services.workspace

    @operation(
        "listWorkerVersions",
        access=Access.MEMBER,
        summary="List the commits that changed a worker",
        query=PageQuery,
        responses={200: list[VersionView]},
        errors=["worker_not_found", "validation_failed"],
    )
    async def on_get(self, call: Call[PageQuery, None], worker_id: str) -> PageReply:
        """Newest first; also of a worker that was deleted, whose newest version has no `sha`."""
        below = call.query.key(int)
        found, next_index = await blocking(
            self._workspace.versions, worker_id, below=below, limit=call.query.limit
        )
        if not found and below is None:
            raise WorkerNotFound(f"There never was a worker {worker_id}; GET /workers lists them.")
        return PageReply([_version_view(each) for each in found], cursor_of(next_index))


class WorkerRollback:
    """Going back to a former version."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "rollBackWorker",
        access=Access.MEMBER,
        summary="Restore a former version",
        body=Rollback,
        responses={200: WorkerView},
        errors=["version_not_found", *WRITE_ERRORS[2:]],
    )
    async def on_post(self, call: Call[None, Rollback], worker_id: str) -> Reply:
        """Exactly the folder of that commit, by a new commit; files added since go away.

        Brings back a worker that was deleted, too. What looks like a live credential
        is named in `x-floom-warning`.
        """
        return await blocking(self._roll_back, call, worker_id)

    def _roll_back(self, call: Call[None, Rollback], worker_id: str) -> Reply:
        services = self._services
        services.worker_source.roll_back(
            worker_id, call.body.commit, writer=writer_of(call.principal)
        )
        services.early_installs.request([worker_id])
        view = load_worker_view(services, worker_id)
        files = services.workspace.bundle(view.sha)
        findings = scan_all((file.path, file.data) for file in files)
        return Reply(view, 200, warning_headers(findings))


def _expected(change: FilesChange) -> Expected | None:
    return Expected(change.expected_sha) if "expected_sha" in change.model_fields_set else None


def _of_upload(refused: Invalid) -> Invalid:
    """Return a refusal whose pointers lead to the upload: the files are not in the body."""
    errors = [FieldError("/upload_id", each.detail) for each in refused.errors]
    return type(refused)(str(refused), errors)


def _files(change: FilesChange) -> list[SourceFile]:
    if change.files is None:
        detail = "Send files, or the id of a zip that was uploaded."
        raise Invalid(detail, [FieldError("/files", detail)])
    return [_file(index, each) for index, each in enumerate(change.files)]


def _file(index: int, file: FileContent) -> SourceFile:
    if file.encoding == "utf-8":
        return SourceFile(file.path, file.content.encode(), file.executable)
    try:
        data = base64.b64decode(file.content, validate=True)
    except (binascii.Error, ValueError):
        detail = "Must be base64."
        raise Invalid(detail, [FieldError(f"/files/{index}/content", detail)]) from None
    return SourceFile(file.path, data, file.executable)


def _files_view(source: Source) -> FilesView:
    return FilesView(
        sha=source.sha,
        files=[FileView(**_file_fields(file)) for file in source.files],
        others=list(source.others),
    )


def _text(data: bytes) -> str | None:
    """Return UTF-8 as text; None for others, and with controls, which JSON writes as six bytes."""
    if len(data.translate(None, _CONTROLS)) < len(data):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _file_fields(file: SourceFile) -> dict[str, Any]:
    text = _text(file.data)
    return {
        "path": shown(file.path),
        "content": base64.b64encode(file.data).decode("ascii") if text is None else text,
        "encoding": "base64" if text is None else "utf-8",
        "executable": file.is_executable,
    }


def _version_view(version: WorkerVersion) -> VersionView:
    info = version.info
    return VersionView(
        commit=version.commit,
        sha=version.sha,
        message=info.message,
        author=info.author,
        committed_at=info.committed_at,
    )


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [
        Route("/workers/{worker_id}/files", WorkerFiles(services), tag=TAG),
        Route("/workers/{worker_id}/versions", WorkerVersions(services), tag=TAG),
        Route("/workers/{worker_id}/rollback", WorkerRollback(services), tag=TAG),
    ]


handler = lambda_handler(routes)
