"""Server-sent events (HTML Living Standard, section 9.2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from lib.web.call import Call, Reply, cancel

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_SECONDS: Final = 15
RETRY_MILLISECONDS: Final = 2000
# A snapshot is what is there now; an iterator that then waits is cut off.
SNAPSHOT_IDLE_SECONDS: Final = 1.0

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class ServerEvent:
    """One event.

    Attributes:
        id: What `Last-Event-ID` will say; None leaves it as it was.
        event: The event's type.
        data: Text as it is, anything else as JSON.
    """

    id: str | None
    event: str
    data: Any

    def render(self) -> bytes:
        """Return the frame; text of several lines becomes several data lines."""
        text = self.data if isinstance(self.data, str) else to_json(self.data).decode()
        lines = [f"id: {_one_line(self.id)}"] if self.id is not None else []
        lines.append(f"event: {_one_line(self.event)}")
        lines.extend(f"data: {line}" for line in _LINE_END.split(text))
        return ("\n".join(lines) + "\n\n").encode(errors="replace")


def stream(
    call: Call[Any, Any],
    events: AsyncIterator[ServerEvent],
    *,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> Reply:
    """Return the answer that sends events as they come.

    It ends when the events do, when the client leaves and when the server
    stops; the iterator is closed each time. Where the host cannot stream, the
    answer is the events so far and `retry:`, so that the client polls; events
    should then end by themselves (`call.can_stream`), and are cut off when the
    next one is not there within a second.
    """
    frames = _Frames(_live(call, events, heartbeat_seconds) if call.can_stream else _past(events))
    return Reply(frames, headers=_HEADERS, media_type=EVENT_STREAM)


class _Frames:
    """Frames that are closed with the answer; Falcon calls `close`."""

    def __init__(self, frames: Any) -> None:
        self._frames = frames

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Any:
        return self._frames.__anext__()

    async def close(self) -> None:
        await self._frames.aclose()


async def _live(
    call: Call[Any, Any], events: AsyncIterator[ServerEvent], heartbeat_seconds: float
) -> AsyncIterator[bytes]:
    gone = asyncio.ensure_future(call.request.disconnected())
    stopping = asyncio.ensure_future(call.request.exchange.kernel.shutdown.wait())
    upcoming = _next(events)
    try:
        while True:
            await asyncio.wait(
                {gone, stopping, upcoming},
                timeout=heartbeat_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if gone.done() or stopping.done():
                return
            if not upcoming.done():
                yield b": heartbeat\n\n"
                continue
            event = upcoming.result()
            if event is None:
                return
            yield event.render()
            upcoming = _next(events)
    finally:
        await cancel(gone, stopping, upcoming)
        await _close(events)


async def _past(events: AsyncIterator[ServerEvent]) -> AsyncIterator[bytes]:
    try:
        while True:
            event = await asyncio.wait_for(_next(events), SNAPSHOT_IDLE_SECONDS)
            if event is None:
                break
            yield event.render()
    except TimeoutError:
        pass
    finally:
        await _close(events)
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()


def _next(events: AsyncIterator[ServerEvent]) -> asyncio.Task[ServerEvent | None]:
    async def upcoming() -> ServerEvent | None:
        return await anext(events, None)

    return asyncio.ensure_future(upcoming())


async def _close(events: AsyncIterator[ServerEvent]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


def _one_line(text: str) -> str:
    return _LINE_END.sub(" ", text).replace("\0", "")
