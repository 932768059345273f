"""Workers: list, detail, reload, settings, starting a run."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pydantic import Field

from handlers.authors import author_of, writer_of
from handlers.idempotency import REPLAYED, key_use, repeated, stored_answer
from handlers.run_views import RunView, run_view
from handlers.worker_views import (
    FindingView,
    WorkerSummaryView,
    WorkerView,
    finding,
    load_worker_view,
    worker_summary,
)
from lib.auth.principal import Principal, Role
from lib.bootstrap import Services, lambda_handler
from lib.errors import Forbidden
from lib.runs.catalogue import WorkerStatus
from lib.runs.inputs import check_saved_inputs
from lib.runs.lifecycle import DEFAULT_PRIORITY, StartRequest
from lib.runs.signals import Listener
from lib.storage.records import RunRecord, RunStatus, StoredAnswer, Trigger, WorkerSettings
from lib.web.access import Access
from lib.web.call import Call, PageReply, Reply
from lib.web.models import RequestModel, ResponseModel
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.preferences import Wait, wait_preference
from lib.web.route import Route
from lib.web.threads import blocking
from lib.workspace.registry import QUARANTINE
from lib.workspace.secret_scan import scan_all
from lib.workspace.workspace import Author, Delete

TAG: Final = "Workers"
START_ERRORS: Final = [
    "worker_not_found", "worker_broken", "worker_disabled", "validation_failed", "missing_secret",
    "missing_connection", "concurrency_conflict", "idempotency_key_reused", "secret_unreadable",
]  # fmt: skip


class WorkersQuery(PageQuery):
    """Filters of the list of workers."""

    q: str | None = Field(
        None, max_length=200, description="Part of id, title, description or a tag, any case."
    )
    status: WorkerStatus | None = None
    tag: str | None = Field(None, max_length=64)
    trigger_type: str | None = Field(None, max_length=32)
    include_archived: bool = False


class StartRun(RequestModel):
    """A run to start."""

    inputs: dict[str, Any] = Field({}, examples=[{"who": "Ada"}])
    idempotency_key: str | None = Field(None, min_length=1, max_length=128, pattern=r"^[ -~]+$")
    priority: int = Field(DEFAULT_PRIORITY, ge=0, le=9, description="Higher goes first.")


class Reload(RequestModel):
    """How to reload."""

    force: bool = Field(False, description="Also when it deletes more than half of the workers.")


class SkippedView(ResponseModel):
    """A path that was left out."""

    path: str
    reason: str


class ReloadError(FindingView):
    """A problem of one worker's manifest."""

    worker_id: str


class ReloadView(ResponseModel):
    """What a reload did."""

    workers_loaded: int
    commit: str | None = Field(description="The commit made of what was on disk; null: nothing.")
    changed: list[str]
    removed: list[str]
    skipped: list[SkippedView]
    warnings: list[str] = Field(
        description="What looks like a live credential, and of the workers that changed what in their "
        "manifest is not as it should be though they load."
    )
    errors: list[ReloadError]


class WorkerChange(RequestModel):
    """Settings of a worker on this server; not in git."""

    enabled: bool | None = None
    saved_inputs: dict[str, Any] | None = Field(
        None, description="Merged into the saved ones; null removes one."
    )


class Workers:
    """The list of workers, and one of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._catalogue = services.catalogue

    @operation(
        "listWorkers",
        access=Access.MEMBER,
        summary="List workers",
        query=WorkersQuery,
        responses={200: list[WorkerSummaryView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[WorkersQuery, None]) -> PageReply:
        """By id. A worker whose manifest does not load is listed too, with status `error`."""
        query = call.query
        after = query.key(str) or ""
        entries = await blocking(self._catalogue.list)
        now = self._services.clock.now()
        found = [worker_summary(entry, now) for entry in entries if entry.worker.id > after]
        rows = [row for row in found if _matches(row, query)]
        page = rows[: query.limit]
        return PageReply(page, cursor_of(page[-1].id if len(rows) > query.limit else None))

    @operation(
        "getWorker",
        access=Access.MEMBER,
        summary="One worker with manifest, files and newest runs",
        responses={200: WorkerView},
        errors=["worker_not_found"],
    )
    async def on_get_item(self, _call: Call[None, None], worker_id: str) -> WorkerView:
        """Also of a worker whose manifest does not load: `errors` says why."""
        return await blocking(load_worker_view, self._services, worker_id)

    @operation(
        "updateWorker",
        access=Access.MEMBER,
        summary="Enable a worker, or save inputs for it",
        body=WorkerChange,
        responses={200: WorkerView},
        errors=["worker_not_found", "validation_failed", "forbidden"],
    )
    async def on_patch_item(self, call: Call[None, WorkerChange], worker_id: str) -> WorkerView:
        """Settings of this server; the worker's files stay as they are.

        Enabling a worker that was imported and is in quarantine needs an
        administrator, and is a commit.
        """
        await blocking(self._change, call.principal, worker_id, call.body)
        return await blocking(load_worker_view, self._services, worker_id)

    @operation(
        "deleteWorker",
        access=Access.MEMBER,
        summary="Delete a worker",
        responses={204: None},
        errors=["worker_not_found", "workspace_conflict", "capability_requires_admin"],
    )
    async def on_delete_item(self, call: Call[None, None], worker_id: str) -> Reply:
        """One commit removes the folder; queued runs and pending approvals are cancelled.

        What runs now runs on, and past runs stay readable. A rollback brings the
        worker back, without its settings on this server.
        """
        writer = writer_of(call.principal)
        await blocking(self._services.worker_removal.delete, worker_id, writer=writer)
        return Reply(status=204)

    def _change(self, principal: Principal, worker_id: str, change: WorkerChange) -> None:
        entry = self._catalogue.get(worker_id)
        saved = check_saved_inputs(entry.manifest, change.saved_inputs or {})
        if change.enabled and entry.worker.quarantined:
            self._lift_quarantine(principal, worker_id)
        self._services.worker_settings.change(worker_id, partial(_merge, change, saved))

    def _lift_quarantine(self, principal: Principal, worker_id: str) -> None:
        if principal.role is not Role.ADMIN:
            raise Forbidden("Ask an administrator: this worker was imported and is in quarantine.")
        self._services.workspace.commit(
            lambda _: [Delete(f"{QUARANTINE}/{worker_id}")],
            f"worker: enable {worker_id}",
            author_of(principal),
        )


class WorkerRuns:
    """Starting runs of one worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lifecycle = services.lifecycle

    @operation(
        "startRun",
        access=Access.MEMBER,
        summary="Start a run",
        body=StartRun,
        body_required=False,
        responses={202: RunView, 200: RunView},
        headers=["Idempotency-Key", "Prefer"],
        errors=START_ERRORS,
    )
    async def on_post(self, call: Call[None, StartRun], worker_id: str) -> Reply:
        """Answered at once, with the run as queued; `Prefer: wait=10` waits for the end.

        With it the answer is 200 and the finished run, or 202 if the run has not
        finished by then. A run that waits for an approval counts as finished.
        """
        wait = wait_preference(call)
        run_id = self._lifecycle.new_id()
        request = StartRequest(
            run_id=run_id,
            worker_id=worker_id,
            inputs=call.body.inputs,
            trigger=Trigger("manual", None, call.principal.user_id),
            priority=call.body.priority,
            key=key_use(
                call, (worker_id,), body_key=call.body.idempotency_key, answer=self._answer
            ),
        )
        with self._listen(run_id) as listener:  # before there is anything to miss
            creation = await blocking(self._lifecycle.start, request)
            if creation.run is not None:
                return await self._reply(call, creation.run, wait, listener)
        assert creation.replayed is not None  # noqa: S101 - the store gives one or the other
        return await self._repeat(call, creation.replayed, wait)

    def _listen(self, run_id: str) -> AbstractContextManager[Listener]:
        return self._services.signals.listen(run_id, hears_progress=False)

    async def _reply(
        self, call: Call[Any, Any], run: RunRecord, wait: Wait | None, listener: Listener
    ) -> Reply:
        if wait is not None and not _has_settled(run):
            call.put_on_record(202)  # the run exists; all else is no effect of this call
            run = await self._settled(call, run, wait.seconds, listener)
        view = await blocking(self._view, run)
        if wait is None:
            return Reply(view, 202, _location(run.id))
        status = 200 if _has_settled(run) else 202
        return Reply(view, status, {**_location(run.id), **wait.headers})

    async def _repeat(self, call: Call[Any, Any], first: StoredAnswer, wait: Wait | None) -> Reply:
        """Give the first answer again; one who waits, waits for that same run."""
        if wait is not None and first.run_id is not None:
            with self._listen(first.run_id) as listener:
                run = await blocking(self._services.runs.get, first.run_id)
                reply = await self._reply(call, run, wait, listener)
            return Reply(reply.body, reply.status, {**reply.headers, **REPLAYED})
        return await blocking(repeated, first, self._services.content)

    async def _settled(
        self, call: Call[Any, Any], run: RunRecord, seconds: int, listener: Listener
    ) -> RunRecord:
        """Return the run as it is when it has settled or the time is over."""
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        while not _has_settled(run) and (left := deadline - now()) > 0:
            has_news = await call.wait(listener.wait(), seconds=left)
            if has_news and listener.heard is not None:
                run = listener.heard
            else:
                run = await blocking(self._services.runs.get, run.id)
            if not has_news:
                break
        return run

    def _view(self, run: RunRecord) -> RunView:
        return run_view(run, self._services.content, self._services.masks)

    def _answer(self, run: RunRecord) -> StoredAnswer:
        return stored_answer(
            202,
            self._view(run),
            _location(run.id),
            run_id=run.id,
            content=self._services.content,
        )


class WorkerReload:
    """Taking over what is on disk."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "reloadWorkers",
        access=Access.MEMBER,
        summary="Take over what was changed on disk",
        body=Reload,
        body_required=False,
        responses={200: ReloadView},
        errors=["workspace_conflict"],
    )
    async def on_post(self, call: Call[None, Reload]) -> ReloadView:
        """One commit of everything that differs from what was last written out.

        A path that changed both on disk and in git is refused, and so is a reload
        that would delete more than half of the workers, unless `force` is set.
        """
        return await blocking(self._reload, author_of(call.principal), call.body.force)

    def _warnings(self, commit: str | None) -> list[str]:
        if commit is None:
            return []
        files = self._services.workspace.changed_files(commit)
        return [found.warning for found in scan_all(files)]

    def _reload(self, author: Author, force: bool) -> ReloadView:
        result = self._services.workspace.reload(author, force=force)
        self._services.early_installs.request(result.changed)
        workers = self._services.catalogue.snapshot().workers.values()
        return ReloadView(
            workers_loaded=sum(not worker.loaded.errors for worker in workers),
            commit=result.commit,
            changed=list(result.changed),
            removed=list(result.removed),
            skipped=[SkippedView(path=each.path, reason=each.reason) for each in result.skipped],
            warnings=[
                *self._warnings(result.commit),
                *(
                    f"workers/{worker.id}/worker.yml line {each.line}: {each.message}"
                    for worker in workers
                    if worker.id in result.changed
                    for each in worker.loaded.warnings
                ),
            ],
            errors=[
                ReloadError(worker_id=worker.id, **dict(finding(worker.id, problem)))
                for worker in workers
                for problem in worker.loaded.errors
            ],
        )


def _location(run_id: str) -> dict[str, str]:
    return {"location": f"/runs/{run_id}"}


def _has_settled(run: RunRecord) -> bool:
    return run.status.is_final or run.status is RunStatus.PENDING_APPROVAL


def _matches(row: WorkerSummaryView, query: WorkersQuery) -> bool:
    text = (query.q or "").lower()
    return (
        (query.include_archived or not row.archived or query.status == "archived")
        and (query.status is None or row.status == query.status)
        and (query.tag is None or query.tag in row.tags)
        and (query.trigger_type is None or query.trigger_type in {t.type for t in row.triggers})
        and any(text in each.lower() for each in (row.id, row.title, row.description, *row.tags))
    )


def _merge(change: WorkerChange, saved: dict[str, Any], settings: WorkerSettings) -> WorkerSettings:
    enabled = settings.enabled if change.enabled is None else change.enabled
    merged = {**settings.saved_inputs, **saved}
    kept = {name: value for name, value in merged.items() if value is not None}
    return replace(settings, enabled=enabled, saved_inputs=kept)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    workers = Workers(services)
    return [
        Route("/workers", workers, tag=TAG),
        Route("/workers/reload", WorkerReload(services), tag=TAG),
        Route("/workers/{worker_id}", workers, "item", tag=TAG),
        Route("/workers/{worker_id}/runs", WorkerRuns(services), tag=TAG),
    ]


handler = lambda_handler(routes)
