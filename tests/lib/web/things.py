"""A resource that does everything an operation can do."""

import asyncio
import contextlib
import threading

from pydantic import Field

from lib.errors import Conflict, RateLimited
from lib.web import sse
from lib.web.access import Access
from lib.web.call import PageReply, Reply
from lib.web.media import Media
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, decode_cursor, encode_cursor
from lib.web.route import Route
from lib.web.threads import blocking

SECRET = "a secret of some length"


class ThingsQuery(PageQuery):
    q: str | None = None
    status: list[str] = Field(default_factory=list)


class NewThing(RequestModel):
    name: str = Field(min_length=1, max_length=20)
    size: int = Field(default=1, ge=1)
    inputs: dict[str, int | str | list[int]] = Field(default_factory=dict)


class Options(RequestModel):
    force: bool = False


class Thing(ResponseModel):
    name: str
    size: int
    made_at: Timestamp
    note: str | None = None


class Echo(ResponseModel):
    digest: str
    key: str | None
    template: str
    principal: str


class Things:
    """Everything an operation can do, for tests."""

    def __init__(self, clock):
        self.clock = clock
        self.closed = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)

    @operation(
        "listThings",
        access=Access.MEMBER,
        summary="List things",
        query=ThingsQuery,
        responses={200: list[Thing]},
        errors=["validation_failed"],
    )
    async def on_get(self, call):
        """All things, newest first."""
        if call.query.cursor:
            decode_cursor(call.query.cursor, (int, str))
        name = call.query.q or "a"
        thing = Thing(name=name, size=len(call.query.status), made_at=self.clock.now())
        return PageReply([thing], None if call.query.cursor else encode_cursor([1, "a"]))

    @operation(
        "createThing",
        access=Access.MEMBER,
        summary="Create a thing",
        body=NewThing,
        responses={201: Thing},
        errors=["conflict", "rate_limited"],
        headers=["Idempotency-Key"],
    )
    async def on_post(self, call):
        if call.body.name == "taken":
            raise Conflict("There is one of this name; choose another.", code="thing_conflict")
        if call.body.name == "slow down":
            raise RateLimited("Wait.", retry_after_seconds=7)
        now = await blocking(self.clock.now)
        return Thing(name=call.body.name, size=call.body.size, made_at=now)

    @operation("deleteThings", access=Access.ADMIN, summary="Delete", responses={204: None})
    async def on_delete(self, _call):
        return None

    @operation(
        "getThing",
        access=Access.MEMBER,
        summary="Get a thing",
        responses={200: Thing},
        errors=["run_not_found"],
    )
    async def on_get_one(self, _call, run_id):
        raise ValueError(f"the secret of {run_id}")

    @operation(
        "patchThing",
        access=Access.MEMBER,
        summary="Change",
        body=Options,
        body_required=False,
        responses={200: Echo},
        headers=["Idempotency-Key"],
    )
    async def on_patch_one(self, call, run_id):
        return Echo(
            digest=call.body_digest,
            key=call.idempotency_key,
            template=call.route_template,
            principal=call.principal.user_id,
        )

    @operation(
        "putBytes",
        access=Access.MEMBER,
        summary="Store bytes",
        body=Media("application/octet-stream"),
        responses={200: Media("image/png")},
        body_cap_bytes=100_000,
    )
    async def on_put_bytes(self, call):
        content = b"".join([chunk async for chunk in call.chunks()])
        cookies = {"set-cookie": "a=1; Path=/"}
        return Reply(content, headers=cookies, media_type="image/png")

    @operation("broken", access=Access.MEMBER, summary="A bad header", responses={200: None})
    async def on_get_header(self, _call):
        return Reply(headers={"x-name": "line\nbreak"})

    @operation(
        "events", access=Access.MEMBER, summary="Events", responses={200: Media(sse.EVENT_STREAM)}
    )
    async def on_get_events(self, call):
        return sse.stream(call, self._events(call), heartbeat_seconds=0.05)

    async def _events(self, call):
        self.opened.release()
        try:
            yield sse.ServerEvent("1", "log", {"message": "hello"})
            yield sse.ServerEvent("2", "note", "two\nlines")
            if call.can_stream:
                await asyncio.Event().wait()
        finally:
            self.closed.release()

    @operation("poll", access=Access.MEMBER, summary="Long poll", responses={200: Options})
    async def on_get_poll(self, call):
        self.opened.release()
        return Options(force=await call.wait(asyncio.Event().wait(), seconds=60))

    @operation("hook", access=Access.MEMBER, summary="Signed elsewhere", responses={200: Options})
    async def on_post_hook(self, call, worker_id):
        with contextlib.suppress(LookupError):
            return Options(force=bool(call.principal))
        return Options(force=False)

    @operation("health", access=Access.MEMBER, summary="Health", responses={200: Options})
    async def on_get_health(self, _call):
        return Options()


def routes_of(things):
    return [
        Route("/things", things, tag="Things"),
        Route("/things/{run_id}", things, "one", tag="Things"),
        Route("/bytes", things, "bytes"),
        Route("/header", things, "header"),
        Route("/events", things, "events"),
        Route("/poll", things, "poll"),
        Route("/webhooks/{worker_id}", things, "hook"),
        Route("/healthz", things, "health"),
    ]
