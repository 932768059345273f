"""When schedules fire, above all on the days when clocks change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.manifest.schedule import (
    MACROS,
    ScheduleError,
    check_cron,
    check_timezone,
    next_fire_at,
)


def fires(cron: str, timezone: str, after: str, count: int) -> list[str]:
    """Return the next `count` times in UTC, each computed from the one before."""
    at = datetime.fromisoformat(after)
    times = []
    for _ in range(count):
        following = next_fire_at(cron, timezone, at)
        assert following is not None
        at = following
        times.append(at.strftime("%m-%dT%H:%M"))
    return times


def test_a_time_is_read_in_its_zone_and_given_in_utc():
    after = datetime(2026, 1, 5, 12, tzinfo=UTC)

    at = next_fire_at("0 9 * * 1-5", "Asia/Tokyo", after)

    assert at == datetime(2026, 1, 6, 0, tzinfo=UTC)
    assert at.tzinfo is UTC


def test_a_slot_at_exactly_the_given_time_does_not_count():
    at = datetime(2026, 1, 1, tzinfo=UTC)

    assert next_fire_at("0 0 * * *", "UTC", at) == at + timedelta(days=1)
    assert next_fire_at("0 0 * * *", "UTC", at - timedelta(milliseconds=1)) == at


# Europe/Berlin 2026: 29 March 02:00 -> 03:00, 25 October 03:00 -> 02:00.
def test_a_time_that_does_not_exist_fires_once_at_the_next_valid_minute():
    assert fires("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 3) == [
        "03-28T01:30",
        "03-29T01:00",
        "03-30T00:30",
    ]


def test_several_times_in_the_gap_fire_once_together():
    assert fires("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 2) == [
        "03-29T01:00",
        "03-30T00:00",
    ]
    assert fires("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 2) == [
        "03-29T01:00",
        "03-30T00:00",
    ]


def test_a_time_that_occurs_twice_fires_once():
    assert fires("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2) == [
        "10-25T00:30",
        "10-26T01:30",
    ]
    assert fires("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 3) == [
        "10-25T00:00",
        "10-25T00:30",
        "10-26T01:00",
    ]


def test_a_question_between_the_two_occurrences_gets_the_next_day():
    between = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time

    at = next_fire_at("30 2 * * *", "Europe/Berlin", between)

    assert at == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_an_interval_goes_on_by_elapsed_time_through_a_repeated_hour():
    assert fires("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00Z", 4) == [
        "10-25T00:30",
        "10-25T01:00",
        "10-25T01:30",
        "10-25T02:00",
    ]


def test_an_interval_goes_on_by_elapsed_time_over_a_missing_hour():
    assert fires("0 * * * *", "Europe/Berlin", "2026-03-29T00:30Z", 2) == [
        "03-29T01:00",
        "03-29T02:00",
    ]


def test_midnight_that_does_not_exist():
    assert fires("@daily", "America/Sao_Paulo", "2018-11-03T12:00Z", 2) == [
        "11-04T03:00",
        "11-05T02:00",
    ]


def test_a_whole_day_that_does_not_exist():
    """Samoa had no 30 December 2011; its slot falls on the next midnight."""
    assert fires("@daily", "Pacific/Apia", "2011-12-29T00:00Z", 3) == [
        "12-29T10:00",
        "12-30T10:00",
        "12-31T10:00",
    ]


@pytest.mark.parametrize("macro", MACROS)
def test_macros_fire(macro: str):
    assert next_fire_at(macro, "Europe/Berlin", datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("", "five fields"),
        ("@reboot", "one of @hourly"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
        ("soon * * * *", "minute"),
    ],
)
def test_a_cron_that_cannot_be_used_says_why(cron: str, reason: str):
    with pytest.raises(ScheduleError, match=reason):
        check_cron(cron)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe", "a\x00b", "é" * 300]
)
def test_a_name_that_is_no_time_zone_is_refused(name: str):
    with pytest.raises(ScheduleError, match="IANA"):
        check_timezone(name)


def test_a_day_that_comes_once_in_years_is_found():
    at = next_fire_at("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC))

    assert at == datetime(2028, 2, 29, tzinfo=UTC)


def test_at_the_end_of_the_calendar_there_is_no_next_time():
    assert next_fire_at("0 0 * * *", "UTC", datetime(9999, 12, 31, 12, tzinfo=UTC)) is None


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,-#LWSUNMO @ ²", max_size=30))
def test_any_text_is_a_schedule_or_a_schedule_error(cron: str):
    with suppress(ScheduleError):
        check_cron(cron)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["30 2 * * *", "*/20 1-3 * * *", "0 * * * *", "5 0 * * 0", "*/7 * * * *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.datetimes(
        min_value=datetime(2025, 1, 1),  # noqa: DTZ001 - the zone is added below
        max_value=datetime(2027, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)
def test_the_next_time_is_later_on_a_whole_minute_and_not_skipped(
    cron: str, timezone: str, after: datetime
):
    """Asking from any moment before a slot gives the slot itself."""
    at = next_fire_at(cron, timezone, after)

    assert at is not None
    assert at > after
    assert (at.second, at.microsecond) == (0, 0)
    halfway = after + (at - after) / 2
    assert next_fire_at(cron, timezone, halfway) == at
