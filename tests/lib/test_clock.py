"""Time: aware, in UTC, in milliseconds, and only forward by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from lib.clock import ManualClock, SystemClock, from_milliseconds, rfc3339, to_milliseconds

MILLISECONDS = st.integers(0, 253_402_300_799_999)  # to the end of the year 9999


def test_the_system_s_time_is_aware_and_has_whole_milliseconds() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert before - timedelta(milliseconds=1) < now <= datetime.now(UTC)


def test_a_manual_clock_stands_until_it_is_advanced() -> None:
    clock = ManualClock()
    start = clock.now()
    assert clock.now() == start
    assert clock.advance(hours=1, seconds=0.5) == clock.now()
    assert clock.now() - start == timedelta(hours=1, milliseconds=500)


@given(MILLISECONDS)
def test_the_stored_form_of_a_time_loses_nothing(milliseconds: int) -> None:
    at = from_milliseconds(milliseconds)
    assert at.tzinfo is UTC
    assert to_milliseconds(at) == milliseconds


@given(MILLISECONDS, st.integers(-14, 14))
def test_a_time_has_one_text_whatever_its_zone(milliseconds: int, hours: int) -> None:
    at = min(from_milliseconds(milliseconds), datetime(9999, 12, 30, tzinfo=UTC))
    at = max(at, datetime(1970, 1, 2, tzinfo=UTC))
    text = rfc3339(at.astimezone(timezone(timedelta(hours=hours))))
    assert text == rfc3339(at)
    assert len(text) == len("2026-01-01T00:00:00.000Z")
    assert datetime.fromisoformat(text) == at


def test_the_text_of_a_time_is_what_the_edges_promise() -> None:
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000Z"
    assert rfc3339(from_milliseconds(1)) == "1970-01-01T00:00:00.001Z"
