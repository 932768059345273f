"""Runs: lists, details, logs, events, artifacts, cancel and replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field
from pydantic_core import PydanticCustomError

from handlers.approval_views import approval_views
from handlers.run_views import (
    LogLineView,
    RunDetailView,
    RunSummaryView,
    RunView,
    artifact_view,
    log_lines,
    run_view,
)
from lib.bootstrap import Services, lambda_handler
from lib.errors import NotFound
from lib.ids import WORKER_ID_PATTERN, pattern
from lib.runs.event_stream import EventReader, Position, follow
from lib.sandbox.log_keeper import MAX_LINE_BYTES
from lib.storage.records import (
    Artifact,
    LogLevel,
    LogLine,
    RunQuery,
    RunRecord,
    RunStatus,
    TriggerType,
)
from lib.web import sse
from lib.web.access import Access
from lib.web.call import Call, PageReply, Reply
from lib.web.files import FileReply, file_reply
from lib.web.media import Media
from lib.web.models import RequestModel
from lib.web.operation import operation
from lib.web.page_cache import PageCache
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Runs"
SHOWN_LOG_LINES: Final = 1_000
MAX_LOG_WAIT_SECONDS: Final = 20


class RunsQuery(PageQuery):
    """Filters of the list of runs."""

    worker_id: str | None = Field(None, pattern=WORKER_ID_PATTERN)
    status: frozenset[RunStatus] = Field(
        frozenset(), description="One or more, separated by commas."
    )
    trigger: TriggerType | None = None
    since: AwareDatetime | None = Field(None, description="Created at or after.")
    until: AwareDatetime | None = Field(None, description="Created before.")
    q: str | None = Field(
        None, max_length=200, description="Part of the worker's id or of the error, any case."
    )
    connection_id: str | None = Field(
        None, pattern=pattern("con"), description="Runs that used this connection."
    )

    def filters(self) -> RunQuery:
        """Return what the store filters by."""
        return RunQuery(
            worker_id=self.worker_id,
            statuses=self.status,
            trigger=self.trigger,
            since=self.since,
            until=self.until,
            text=self.q or None,
        )


class LogsQuery(PageQuery):
    """Which lines of a log."""

    after: int = Field(0, ge=0, le=2**63 - 1, description="Lines with a higher `seq` only.")
    level: LogLevel | None = Field(None, description="This level and more severe ones.")
    wait: int = Field(
        0, ge=0, le=MAX_LOG_WAIT_SECONDS, description="Seconds to wait for a first line."
    )


class ReplayRun(RequestModel):
    """How to replay a run."""

    latest: bool = Field(False, description="At the worker's current tree, not the run's.")


class Runs:
    """The list of runs, and one of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.runs
        self._approvals = approval_views(services)
        self._pages = PageCache()

    @operation(
        "listRuns",
        access=Access.MEMBER,
        summary="List runs",
        query=RunsQuery,
        responses={200: list[RunSummaryView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[RunsQuery, None]) -> PageReply:
        """Newest first. A page with `q` may hold fewer rows than `limit` and still have a next."""
        query = call.query
        if query.connection_id is not None:  # tool calls are not recorded yet: none used it
            return PageReply([], None)
        version = self._store.version()
        return self._pages.find(query, version) or await self._pages.read(
            query, version, partial(blocking, self._list, query)
        )

    def _list(self, query: RunsQuery) -> PageReply:
        page = self._store.list_json(query.filters(), limit=query.limit, after=query.key(str))
        return PageReply(f"[{','.join(page.rows)}]".encode(), cursor_of(page.next_key))

    @operation(
        "getRun",
        access=Access.MEMBER,
        summary="One run with logs, artifacts and approvals",
        responses={200: RunDetailView},
        errors=["run_not_found", "secret_unreadable"],
    )
    async def on_get_item(self, _call: Call[None, None], run_id: str) -> RunDetailView:
        """The last 1,000 log lines come with it; the rest at `/runs/{run_id}/logs`."""
        return await blocking(self._detail, run_id)

    def _detail(self, run_id: str) -> RunDetailView:
        services = self._services
        run = self._store.get(run_id)
        lines = services.logs.tail(run_id, limit=SHOWN_LOG_LINES)
        artifacts = self._store.list_artifacts(run_id)
        return RunDetailView(
            **dict(run_view(run, services.content, services.masks)),
            logs=log_lines(lines),
            logs_dropped=run.logs_dropped,
            tool_calls=[],
            approvals=[
                self._approvals.view(approval)
                for approval in services.approval_store.list_of_run(run_id)
            ],
            artifacts=[artifact_view(artifact) for artifact in artifacts],
            feedback_count=services.feedback.count(run_id),
            can_replay=services.lifecycle.can_replay(run),
        )


def _check_size(message: str) -> str:
    if len(message.encode()) > MAX_LINE_BYTES:
        raise PydanticCustomError("text_too_large", "Must have at most 16 KiB in UTF-8.")
    return message


class NewLogLine(RequestModel):
    """One line that a run writes into its log."""

    level: LogLevel = Field(description="How much it matters.")
    message: Annotated[str, AfterValidator(_check_size)] = Field(
        min_length=1,
        max_length=MAX_LINE_BYTES,
        description="Text, at most 16 KiB in UTF-8. Its line ends make further lines.",
        examples=["3 of 40 rows have no address"],
    )


class RunActions:
    """What can be done to a run."""

    def __init__(self, services: Services) -> None:
        self._lifecycle = services.lifecycle
        self._content = services.content
        self._masks = services.masks

    @operation(
        "cancelRun",
        access=Access.MEMBER,
        summary="Cancel a run",
        responses={200: RunView},
        errors=["run_not_found", "run_state_conflict", "secret_unreadable"],
    )
    async def on_post_cancel(self, _call: Call[None, None], run_id: str) -> RunView:
        """A queued run ends at once; of a running one the whole process tree is ended first."""
        run = await blocking(self._lifecycle.cancel, run_id)
        return await blocking(self._view, run)

    @operation(
        "replayRun",
        access=Access.MEMBER,
        summary="Run again with the same inputs",
        body=ReplayRun,
        body_required=False,
        responses={202: RunView},
        errors=[
            "run_not_found",
            "worker_not_found",
            "worker_broken",
            "worker_disabled",
            "replay_conflict",
            "validation_failed",
            "missing_secret",
            "missing_connection",
            "concurrency_conflict",
            "secret_unreadable",
        ],
    )
    async def on_post_replay(self, call: Call[None, ReplayRun], run_id: str) -> Reply:
        """A new run at the same tree, or with `latest` at the current one.

        The manifest of the tree that will run decides what is missing. At the same
        tree the worker may be broken or deleted now, but not disabled or archived.
        """
        run = await blocking(
            self._lifecycle.replay, run_id, latest=call.body.latest, by=call.principal.user_id
        )
        view = await blocking(self._view, run)
        return Reply(view, 202, {"location": f"/runs/{run.id}"})

    def _view(self, run: RunRecord) -> RunView:
        return run_view(run, self._content, self._masks)


class RunLogs:
    """A run's log, page by page, and the run's own way to write to it."""

    def __init__(self, services: Services) -> None:
        self._store = services.runs
        self._logs = services.logs
        self._signals = services.signals
        self._executor = services.executor

    @operation(
        "listRunLogs",
        access=Access.MEMBER,
        summary="Log lines of a run",
        query=LogsQuery,
        responses={200: list[LogLineView]},
        errors=["run_not_found", "validation_failed"],
    )
    async def on_get(self, call: Call[LogsQuery, None], run_id: str) -> PageReply:
        """Oldest first. With `wait` an empty page comes only when the time is over."""
        query = call.query
        after = query.key(int) or query.after
        await blocking(self._store.get, run_id)
        read = partial(self._logs.list, run_id, after=after, limit=query.limit, level=query.level)
        lines = await self._wait_for(read, call, run_id) if query.wait else await blocking(read)
        is_full = len(lines) == query.limit
        return PageReply(log_lines(lines), cursor_of(lines[-1].seq if is_full else None))

    @operation(
        "writeRunLog",
        access=Access.RUN,
        summary="Write a line into the run's own log",
        body=NewLogLine,
        responses={204: None},
        errors=["run_state_conflict"],
    )
    async def on_post(self, call: Call[None, NewLogLine], run_id: str) -> None:
        """For the run itself, with its token. The line stands between what it printed before and after."""
        line = call.body
        await blocking(self._executor.note, run_id, line.level, line.message)

    async def _wait_for(
        self, read: partial[list[LogLine]], call: Call[LogsQuery, None], run_id: str
    ) -> list[LogLine]:
        with self._signals.listen(run_id) as listener:
            deadline = asyncio.get_running_loop().time() + call.query.wait
            lines = await blocking(read)
            changed = True
            while changed and not lines and not await self._has_ended(run_id):
                left = max(0.0, deadline - asyncio.get_running_loop().time())
                changed = await call.wait(listener.wait(), seconds=left)
                lines = await blocking(read)
            return lines or await blocking(read)

    async def _has_ended(self, run_id: str) -> bool:
        return (await blocking(self._store.get, run_id)).status.is_final


class RunEvents:
    """A run as it happens."""

    def __init__(self, services: Services) -> None:
        self._store = services.runs
        self._logs = services.logs
        self._signals = services.signals

    @operation(
        "streamRunEvents",
        access=Access.MEMBER,
        summary="Follow a run (server-sent events)",
        responses={200: Media(sse.EVENT_STREAM)},
        headers=["Last-Event-ID"],
        errors=["run_not_found"],
    )
    async def on_get(self, call: Call[None, None], run_id: str) -> Reply:
        """`status`, `log`, `tool_call`, `artifact`, `approval`, then `end`.

        `Last-Event-ID` resumes with nothing lost or repeated.
        """
        await blocking(self._store.get, run_id)
        position = Position.parse(call.request.get_header("Last-Event-ID"))
        return sse.stream(call, self._events(call, run_id, position))

    async def _events(
        self, call: Call[None, None], run_id: str, position: Position
    ) -> AsyncIterator[sse.ServerEvent]:
        reader = EventReader(run_id, store=self._store, logs=self._logs)
        with self._signals.listen(run_id) as listener:
            items = follow(
                lambda after: blocking(reader.read, after),
                position,
                listener=listener,
                once=not call.can_stream,
            )
            async for item in items:
                yield sse.ServerEvent(str(item.position), item.type, item.data)


class ArtifactNotFound(NotFound):
    """The run left no file of this name."""

    code = "artifact_not_found"


class RunArtifacts:
    """Files that a run left."""

    def __init__(self, services: Services) -> None:
        self._store = services.runs
        self._content = services.content

    @operation(
        "getRunArtifact",
        access=Access.MEMBER,
        summary="Download an artifact",
        responses={200: Media("*/*"), 206: Media("*/*"), 304: None},
        headers=["Range", "If-None-Match"],
        errors=["artifact_not_found", "range_not_satisfiable"],
    )
    async def on_get(self, call: Call[None, None], run_id: str, name: str) -> Reply:
        """With `ETag` and ranges. Most types come as an attachment."""
        artifact = await blocking(self._get, run_id, name)
        return file_reply(
            call,
            FileReply(artifact.name, artifact.media_type, artifact.size, artifact.sha256),
            partial(self._content.open_stored, artifact.stored),
        )

    def _get(self, run_id: str, name: str) -> Artifact:
        self._store.get(run_id)
        artifact = self._store.find_artifact(run_id, name)
        if artifact is None:
            raise ArtifactNotFound(f"Run {run_id} has no artifact of this name.")
        return artifact


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    runs, actions = Runs(services), RunActions(services)
    return [
        Route("/runs", runs, tag=TAG),
        Route("/runs/{run_id}", runs, "item", tag=TAG),
        Route("/runs/{run_id}/logs", RunLogs(services), tag=TAG),
        Route("/runs/{run_id}/events", RunEvents(services), tag=TAG),
        Route("/runs/{run_id}/artifacts/{name:path}", RunArtifacts(services), tag=TAG),
        Route("/runs/{run_id}/cancel", actions, "cancel", tag=TAG),
        Route("/runs/{run_id}/replay", actions, "replay", tag=TAG),
    ]


handler = lambda_handler(routes)
