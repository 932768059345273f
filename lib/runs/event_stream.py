"""The events of one run, as they happen, from wherever a reader left off.

A position is a pair: the last event and the last log line that were sent. Both
numbers grow within a run, so a reader that comes back with its position misses
nothing and gets nothing twice.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from lib.clock import rfc3339
from lib.runs.signals import Listener
from lib.storage.ports import LogStore, RunStore
from lib.storage.records import LogLine, RunEvent, RunStatus

BATCH: Final = 500
END: Final = "end"  # the type of the last item
LOOK_AGAIN_SECONDS: Final = 5.0  # signals wake at once; another process's writes are seen by this
_POSITION: Final = re.compile(r"(\d{1,12})-(\d{1,15})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """What a reader has had: `<event>-<log line>`."""

    event: int = 0
    log: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """Return the position of a `Last-Event-ID`; the start for anything else."""
        match = _POSITION.match(text or "")
        return cls(int(match[1]), int(match[2])) if match else cls()

    def __str__(self) -> str:
        return f"{self.event}-{self.log}"


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One thing to send: its type, its data, and the position after it."""

    position: Position
    type: str
    data: dict[str, Any]


class EventReader:
    """Reads what is new of a run, in an order that a reader can trust.

    Lines of a log come before the status that ends their run, and what was written
    with that status after it: the log is whole by then.
    """

    def __init__(self, run_id: str, *, store: RunStore, logs: LogStore) -> None:
        self._run_id = run_id
        self._store = store
        self._logs = logs

    def read(self, position: Position) -> list[StreamItem]:
        """Return what came after `position`, at most BATCH log lines of it."""
        # Asked first: a run that ends while this reads is seen to end by the next read.
        has_ended = self._store.get(self._run_id).status.is_final
        items = self._read(position)
        if not items and has_ended:
            return [StreamItem(position, END, {})]
        if any(_is_final(item) for item in items):
            items.append(StreamItem(items[-1].position, END, {}))
        return items

    def _read(self, position: Position) -> list[StreamItem]:
        events = self._store.list_events(self._run_id, after=position.event)
        lines = self._logs.list(self._run_id, after=position.log, limit=BATCH)
        end = next((n for n, event in enumerate(events) if _is_end(event)), len(events))
        before, ends = events[:end], events[end:]
        if len(lines) == BATCH:  # more lines are waiting: no later events yet
            last = lines[-1].at
            before, ends = list(itertools.takewhile(lambda each: each.at <= last, before)), []
        items = []
        # Each kind keeps its own order even if the clock went back.
        kinds: tuple[list[RunEvent | LogLine], ...] = ([*before], [*lines])
        by_time = heapq.merge(*kinds, key=lambda each: each.at)
        for each in itertools.chain(by_time, ends):
            position, item = _item(each, position)
            items.append(item)
        return items


async def follow(
    read: Callable[[Position], Awaitable[list[StreamItem]]],
    position: Position,
    *,
    listener: Listener,
    once: bool = False,
) -> AsyncIterator[StreamItem]:
    """Yield what comes after a position until the run has ended, then `end`.

    Args:
        read: `EventReader.read`, off the event loop.
        position: What the reader has had.
        listener: Rings when something happened to the run.
        once: Stop when there is nothing more now, for hosts that cannot stream.
    """
    while True:
        items = await read(position)
        for item in items:
            position = item.position
            yield item
            if item.type == END:
                return
        if once and not items:
            return
        if not items:
            await listener.wait(LOOK_AGAIN_SECONDS)


def _item(each: RunEvent | LogLine, position: Position) -> tuple[Position, StreamItem]:
    if isinstance(each, RunEvent):
        position = Position(each.seq, position.log)
        return position, StreamItem(position, each.type, _event_data(each))
    position = Position(position.event, each.seq)
    return position, StreamItem(position, "log", _line_data(each))


def _is_final(item: StreamItem) -> bool:
    return item.type == "status" and RunStatus(item.data["status"]).is_final


def _is_end(event: RunEvent) -> bool:
    return event.type == "status" and RunStatus(event.data["status"]).is_final


def _event_data(event: RunEvent) -> dict[str, Any]:
    return {"seq": event.seq, "at": rfc3339(event.at), **event.data}


def _line_data(line: LogLine) -> dict[str, Any]:
    return {
        "seq": line.seq,
        "at": rfc3339(line.at),
        "level": line.level,
        "stream": line.stream,
        "message": line.message,
    }
