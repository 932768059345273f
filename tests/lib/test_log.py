"""The server's log: one event a line, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from lib.log import configure, event

logger = logging.getLogger("tests.log")
Configure = Callable[..., io.StringIO]


@pytest.fixture
def configured() -> Iterator[Configure]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def make(form: Literal["json", "text"], level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        configure(form=form, level=level, stream=stream)
        return stream

    yield make
    root.handlers[:] = before
    root.setLevel(level)


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


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
