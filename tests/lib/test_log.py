"""The server's log: one event a line, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from lib.clock import SystemClock, rfc3339
from lib.log import FrequentEvent, configure, event
from lib.log_writer import BatchedHandler

logger = logging.getLogger("tests.log")
Configure = Callable[..., io.StringIO]


class Written(io.StringIO):
    """What was written, once nothing waits any more."""

    handler: BatchedHandler

    def getvalue(self) -> str:
        self.handler.flush()
        return super().getvalue()


@pytest.fixture
def configured() -> Iterator[Configure]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    made: list[BatchedHandler] = []

    def make(form: Literal["json", "text"], level: str = "info") -> io.StringIO:
        stream = Written()
        stream.handler = configure(form=form, level=level, stream=stream)
        made.append(stream.handler)
        return stream

    yield make
    root.handlers[:] = before
    root.setLevel(level)
    for handler in made:
        handler.close()


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(stream)]


def test_an_event_is_one_json_object_with_its_fields(configured: Configure) -> None:
    stream = configured("json")
    event(logger, logging.WARNING, "run_ended", run_id="run_1", note="a\nb", zoë="ü", at_all=None)
    (line,) = parsed(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "tests.log",
        "event": "run_ended",
        "run_id": "run_1",
        "note": "a\nb",
        "zoë": "ü",
        "at_all": None,
    }


def test_an_exception_is_one_string(configured: Configure) -> None:
    stream = configured("json")
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger.exception("attempt_failed")
    (line,) = parsed(stream)
    assert line["event"] == "attempt_failed"
    assert line["traceback"].startswith("Traceback")
    assert "by zero" in line["traceback"]


def test_values_that_json_does_not_know_become_text(configured: Configure) -> None:
    stream = configured("json")
    event(logger, logging.INFO, "x", path=io, size=10**400)
    assert parsed(stream)[0]["path"].startswith("<module")


def test_text_is_short_and_for_people(configured: Configure) -> None:
    stream = configured("text")
    event(logger, logging.INFO, "run_ended", run_id="run_1", status="completed")
    event(logger, logging.ERROR, "plain")
    first, second = stream.getvalue().splitlines()
    assert first[12:] == " info    run_ended run_id=run_1 status=completed"
    assert second[12:] == " error   plain"


def test_a_traceback_follows_its_text_line(configured: Configure) -> None:
    stream = configured("text")
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger.exception("attempt_failed")
    lines = stream.getvalue().splitlines()
    assert lines[0].split()[1:] == ["error", "attempt_failed"]
    assert lines[-1] == "ZeroDivisionError: by zero"


def test_what_is_below_the_level_is_not_written(configured: Configure) -> None:
    stream = configured("json", "error")
    event(logger, logging.WARNING, "quiet")
    event(logger, logging.ERROR, "loud")
    assert [line["event"] for line in parsed(stream)] == ["loud"]


def test_records_of_libraries_take_the_same_form(configured: Configure) -> None:
    stream = configured("json")
    logging.getLogger("library").warning("seen %d times", 3)
    assert parsed(stream)[0]["event"] == "seen 3 times"


def test_configuring_again_replaces_the_first(configured: Configure) -> None:
    first, second = configured("json"), configured("text")
    event(logger, logging.INFO, "x")
    assert first.getvalue() == ""
    assert second.getvalue()


def test_a_frequent_event_looks_like_any_other(configured: Configure) -> None:
    frequent = FrequentEvent(logger, "request", "status", "route", "note")
    for form in ("json", "text"):
        stream = configured(form)
        event(logger, logging.INFO, "request", status=200, route="/runs", note=None)
        frequent.log(200, "/runs", None)
        one, other = [re.sub(r"[\d:.T-]{12,}Z?", "", line) for line in lines_of(stream)]
        assert one == other


def test_a_frequent_event_bears_the_time_when_it_happened(configured: Configure) -> None:
    stream = configured("json")
    before = rfc3339(SystemClock().now())
    FrequentEvent(logger, "request").log()
    after = rfc3339(SystemClock().now())
    assert before <= parsed(stream)[0]["at"] <= after


def test_a_frequent_event_reaches_whoever_else_listens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        FrequentEvent(logger, "request", "status").log(200)
    assert caplog.messages == ["request"]


def test_a_frequent_event_below_the_level_is_not_written(configured: Configure) -> None:
    stream = configured("json", "warning")
    FrequentEvent(logger, "request").log()
    assert stream.getvalue() == ""


def test_text_that_is_no_unicode_is_written_all_the_same(configured: Configure) -> None:
    stream = configured("json")
    event(logger, logging.INFO, "x", path="\udcff")
    event(logger, logging.INFO, "y")
    assert [line["event"] for line in parsed(stream)] == ["x", "y"]
