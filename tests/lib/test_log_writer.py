"""Lines are gathered, and none is lost but by a kill."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import log_writer
from lib.log_writer import BatchedHandler

ROOT = Path(__file__).resolve().parents[2]
FOR_EVER = 3600.0
DEADLINE_SECONDS = 10
LINES = 500
PROGRAM = """
import logging, sys
from lib import log
log.configure(form="json", level="info")
frequent = log.FrequentEvent(logging.getLogger("test"), "request", "number")
for number in range({lines}):
    frequent.log(number)
{ending}
"""

NESTED = """
import logging, sys
from lib.log_writer import BatchedHandler
handler = BatchedHandler(sys.stderr)
def render(*_):
    handler.handle(logging.LogRecord("test", logging.ERROR, "", 0, "inner", None, None))
    return "outer"
handler.take(render, 0.0, ())
handler.flush()
"""


class Stream(io.StringIO):
    """Says when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.was_flushed = threading.Event()

    def flush(self) -> None:
        super().flush()
        self.was_flushed.set()


class Failing(Stream):
    """Takes nothing while it is broken."""

    broken = True

    def write(self, text: str) -> int:
        if self.broken:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def handler(stream: Stream) -> Iterator[BatchedHandler]:
    handler = BatchedHandler(stream, wait_seconds=FOR_EVER)
    yield handler
    handler.close()


def record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord("test", level, "", 0, message, None, None)


def test_a_warning_is_written_at_once_after_what_came_before(
    handler: BatchedHandler, stream: Stream
) -> None:
    handler.handle(record(logging.INFO, "first"))
    handler.take(lambda _formatter, _created, values: str(*values), 0.0, ("second",))
    assert stream.getvalue() == ""

    handler.handle(record(logging.WARNING, "third"))

    assert stream.getvalue() == "first\nsecond\nthird\n"


def test_ordinary_lines_are_written_without_anybody_asking(stream: Stream) -> None:
    handler = BatchedHandler(stream, wait_seconds=0.0)
    handler.handle(record(logging.INFO, "first"))
    assert stream.was_flushed.wait(DEADLINE_SECONDS)
    stream.was_flushed.clear()
    handler.handle(record(logging.INFO, "second"))
    assert stream.was_flushed.wait(DEADLINE_SECONDS)
    handler.close()
    assert stream.getvalue() == "first\nsecond\n"


def test_the_end_writes_what_waits_and_later_lines_do_not_wait(
    handler: BatchedHandler, stream: Stream
) -> None:
    handler.handle(record(logging.INFO, "before"))
    handler.close()
    assert stream.getvalue() == "before\n"
    handler.handle(record(logging.INFO, "after"))
    assert stream.getvalue() == "before\nafter\n"
    handler.close()


def test_lines_do_not_pile_up_without_bound(handler: BatchedHandler, stream: Stream) -> None:
    for _ in range(log_writer.MAX_WAITING):
        handler.handle(record(logging.INFO, "x"))
    assert stream.getvalue().count("x") == log_writer.MAX_WAITING


def test_nothing_is_lost_or_torn_when_many_threads_log(stream: Stream) -> None:
    handler = BatchedHandler(stream, wait_seconds=0.0)

    def log(thread: int) -> None:
        for number in range(LINES):
            level = logging.INFO if number % 50 else logging.WARNING
            handler.handle(record(level, f"{thread} {number}"))

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    handler.close()

    lines = stream.getvalue().splitlines()
    for thread_number in range(8):
        mine = [line for line in lines if line.startswith(f"{thread_number} ")]
        assert mine == [f"{thread_number} {number}" for number in range(LINES)]


def test_a_stream_that_fails_costs_its_lines_only() -> None:
    stream = Failing()
    handler = BatchedHandler(stream, wait_seconds=FOR_EVER)
    handler.handle(record(logging.ERROR, "lost"))
    stream.broken = False
    handler.handle(record(logging.ERROR, "kept"))
    handler.close()
    assert stream.getvalue() == "kept\n"


def test_a_line_that_cannot_be_made_costs_no_other(handler: BatchedHandler, stream: Stream) -> None:
    handler.handle(record(logging.INFO, "before"))
    handler.take(lambda *_: str(1 // 0), 0.0, ())
    handler.handle(record(logging.WARNING, "after"))
    before, other, after = stream.getvalue().splitlines()
    assert (before, after) == ("before", "after")
    assert "ZeroDivisionError" in other


@pytest.mark.parametrize(
    ("ending", "status"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)]
)
def test_every_end_of_a_process_but_a_kill_writes_all_lines(ending: str, status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(lines=LINES, ending=ending)],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == status
    assert ended.stderr.count('"event":"request"') == LINES


def test_what_is_logged_while_lines_are_made_is_written_too() -> None:
    """A collected task, for one, logs wherever the collector happens to run."""
    ended = subprocess.run(  # of its own: a writer that waits for itself could not even end
        [sys.executable, "-c", NESTED],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0
    assert sorted(ended.stderr.split()) == ["inner", "outer"]
