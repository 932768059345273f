"""The event stream: whatever happens in between, each thing once, in order, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.clock import ManualClock
from lib.runs import state
from lib.runs.event_stream import BATCH, EventReader, Position, StreamItem, follow
from lib.runs.signals import RunSignals
from lib.storage.memory import MemoryLogStore, MemoryRunStore
from lib.storage.records import LogLine, RunRecord, RunStatus, SandboxReport
from lib.storage.stored import Stored
from tests.lib.runs.samples import approval, artifact, queued_run, retrying

VALUE = Stored(2, text="{}")
DEADLINE_SECONDS = 20


class Story:
    """One run to which things happen."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryRunStore()
        self.logs = MemoryLogStore()
        run = queued_run(self.clock.now(), policy=retrying(attempts=9))
        self.store.create(state.first_change(run))
        self.reader = EventReader(run.id, store=self.store, logs=self.logs)

    @property
    def run(self) -> RunRecord:
        return self.store.get("run_0")

    def apply(self, event: state.Event) -> None:
        self.clock.advance(milliseconds=1)
        now = self.clock.now()
        self.store.change("run_0", lambda run: state.transition(run, event, now))

    def begin(self) -> None:
        until = self.clock.now() + timedelta(seconds=30)
        self.apply(state.Started("srv", until, "local", SandboxReport()))

    def log(self, count: int = 1) -> None:
        self.clock.advance(milliseconds=1)
        first = self.logs.last_seq("run_0") + 1
        self.logs.append(
            "run_0",
            [
                LogLine(seq, self.clock.now(), "info", "stdout", f"line {seq}")
                for seq in range(first, first + count)
            ],
        )

    def step(self, name: str) -> None:
        """Let one thing happen, if it can now."""
        running = self.run.status is RunStatus.RUNNING
        if name == "begin" and self.run.status is RunStatus.QUEUED:
            self.begin()
        elif name == "retry" and running and self.run.attempt < 9:
            self.apply(state.Interrupted(self.run.fence, "gone"))
        elif name == "log" and running:
            self.log()
        elif name == "logs" and running:
            self.log(BATCH + 7)
        elif name == "end" and running:
            left = state.Left((artifact("run_0", self.clock.now()),))
            self.apply(state.Completed(self.run.fence, VALUE, left))
        elif name == "decide" and running:
            self.end_with_a_decision()
        elif name == "clock back":
            self.clock.advance(seconds=-3)

    def end_with_a_decision(self) -> None:
        self.clock.advance(milliseconds=1)
        now = self.clock.now()
        ended = state.Completed(self.run.fence, VALUE, state.Left())
        self.store.change(
            "run_0",
            lambda run: state.with_approval(
                state.transition(run, ended, now), approval(run, now), now
            ),
        )

    def expected(self) -> set[tuple[str, int]]:
        """Return kind and number of all that a reader must see but the end."""
        events = {(event.type, event.seq) for event in self.store.list_events("run_0")}
        lines = self.logs.tail("run_0", limit=1_000_000)
        return {(str(kind), seq) for kind, seq in events} | {("log", line.seq) for line in lines}


def key(item: StreamItem) -> tuple[str, int]:
    return item.type, item.data["seq"]


def read_all(story: Story, position: Position) -> list[StreamItem]:
    seen: list[StreamItem] = []
    while items := story.reader.read(position):
        seen += items
        position = items[-1].position
        if items[-1].type == "end":
            break
    return seen


STEPS = st.sampled_from(
    ["begin", "retry", "log", "log", "logs", "end", "decide", "clock back", "read", "reconnect"]
)


@given(st.lists(STEPS, max_size=25), st.data())
def test_each_thing_comes_once_and_in_order_however_often_a_reader_comes_back(
    steps: Sequence[str], data: st.DataObject
) -> None:
    story = Story()
    seen: list[StreamItem] = []

    def position() -> Position:
        return Position.parse(str(seen[-1].position)) if seen else Position()

    for step in steps:
        story.step(step)
        if step in ("read", "reconnect") and not (seen and seen[-1].type == "end"):
            new = story.reader.read(position())
            # A connection may break anywhere; what was not sent is not had.
            sent = len(new) if step == "read" else data.draw(st.integers(0, len(new)))
            seen += new[:sent]
    story.step("begin")
    story.step("end")
    if not (seen and seen[-1].type == "end"):
        seen += read_all(story, position())

    *rest, end = seen
    assert end.type == "end"
    assert "end" not in {item.type for item in rest}
    keys = [key(item) for item in rest]
    assert len(keys) == len(set(keys))
    assert set(keys) == story.expected()
    assert [seq for kind, seq in keys if kind == "log"] == sorted(
        seq for kind, seq in keys if kind == "log"
    )
    assert [seq for kind, seq in keys if kind != "log"] == sorted(
        seq for kind, seq in keys if kind != "log"
    )
    ends = [item.data["seq"] for item in rest if item.data.get("status") == "completed"]
    assert ends
    assert all(item.data["seq"] > ends[0] for item in rest[keys.index(("status", ends[0])) + 1 :])


def test_a_decision_that_ends_a_run_loses_no_reader_its_end() -> None:
    """Cut off anywhere, and back, a reader has had status and approval once each."""
    story = Story()
    story.begin()
    story.log(2)
    story.end_with_a_decision()
    whole = read_all(story, Position())
    assert [item.type for item in whole[-3:]] == ["status", "approval", "end"]
    for sent, item in enumerate(whole[:-1], start=1):
        assert read_all(story, item.position) == whole[sent:]


def test_an_event_that_the_clock_put_late_is_not_passed_over() -> None:
    """The clock goes back after an event, and more lines wait than are read at once."""
    story = Story()
    story.clock.advance(seconds=60)
    story.begin()  # later by the clock than what follows
    story.clock.advance(seconds=-60)
    story.apply(state.Interrupted(story.run.fence, "gone"))
    story.begin()
    story.log(BATCH + 7)
    story.step("end")
    seen = read_all(story, Position())
    assert {key(item) for item in seen[:-1]} == story.expected()


def test_lines_come_before_the_status_that_ends_their_run() -> None:
    story = Story()
    story.begin()
    story.log(3)
    story.step("end")
    kinds = [item.type for item in read_all(story, Position())]
    assert kinds[-3:] == ["artifact", "status", "end"] or kinds[-2:] == ["status", "end"]
    assert kinds.index("log") < len(kinds) - 2
    assert kinds.count("log") == 3


def test_a_reader_of_an_ended_run_gets_only_the_end() -> None:
    story = Story()
    story.begin()
    story.step("end")
    last = read_all(story, Position())[-1]
    assert story.reader.read(last.position) == [StreamItem(last.position, "end", {})]


def test_nothing_new_is_nothing() -> None:
    story = Story()
    (item,) = story.reader.read(Position())
    assert story.reader.read(item.position) == []


def test_items_say_what_they_are_about() -> None:
    story = Story()
    story.begin()
    story.log()
    queued, running, line = story.reader.read(Position())
    assert (queued.data["status"], running.data["status"]) == ("queued", "running")
    assert line.data == {
        "seq": 1,
        "at": "2026-01-01T00:00:00.002Z",
        "level": "info",
        "stream": "stdout",
        "message": "line 1",
    }
    assert str(line.position) == "2-1"


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**15 - 1))
def test_a_position_survives_its_text(event: int, log: int) -> None:
    position = Position(event, log)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "1",
        "-",
        "1-",
        "-1",
        "1-2-3",
        " 1-2",
        "1-2\n",
        "\u0661-\u0662",
        "1" * 99 + "-1",
    ],
)
def test_any_other_position_is_the_start(text: str | None) -> None:
    assert Position.parse(text) == Position()


async def collect(story: Story, signals: RunSignals, *, once: bool = False) -> list[str]:
    async def read(position: Position) -> list[StreamItem]:
        return story.reader.read(position)

    with signals.listen("run_0") as listener:
        items = follow(read, Position(), listener=listener, once=once)
        return [item.type async for item in items]


def test_a_follower_sees_what_happens_while_it_waits() -> None:
    async def main() -> list[str]:
        story, signals = Story(), RunSignals()
        story.begin()
        following = asyncio.ensure_future(collect(story, signals))
        await asyncio.sleep(0)  # lets it read and wait; the loop has no other way
        for step in ("log", "end"):
            story.step(step)
            signals.notify("run_0")
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await following

    assert asyncio.run(main()) == ["status", "status", "log", "artifact", "status", "end"]


def test_where_nothing_can_be_streamed_the_present_is_sent() -> None:
    async def main() -> list[str]:
        story, signals = Story(), RunSignals()
        story.begin()
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await collect(story, signals, once=True)

    assert asyncio.run(main()) == ["status", "status"]
