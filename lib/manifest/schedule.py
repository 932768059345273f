"""When a schedule fires: cron in a zone, across daylight-saving changes.

A schedule that names hours is read on the wall clock: a local time that does
not exist fires once, at the next valid minute, and one that occurs twice
fires once, the first time. An hour of `*` names no time of day but an
interval: it goes on by elapsed time, so "every 15 minutes" has no pause when
an hour is repeated. (cronsim itself treats any `*` as an interval, and then
`*/15 2 * * *` would not fire on the day that has no two o'clock.)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = 5  # a sixth would be seconds: faster than once a minute
_HOUR: Final = 1  # index of the hour among the fields
_MINUTE: Final = timedelta(minutes=1)


class ScheduleError(ValueError):
    """A cron expression or a time zone that cannot be used."""


def next_fire_at(cron: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first time after `after` at which a schedule fires.

    Args:
        cron: Five fields, or one of MACROS.
        timezone: IANA name of the zone that `cron` is read in.
        after: Aware; a slot at exactly this time does not count.

    Returns:
        An aware time in UTC on a whole minute, or None where the schedule
        fires no more within 50 years.

    Raises:
        ScheduleError: `cron` or `timezone` is not valid.
    """
    expression, zone = _expand(cron), _zone(timezone)
    local = after.astimezone(zone)
    names_hours = expression.split()[_HOUR] not in {"*", "*/1"}
    slots = _simulate(expression, local.replace(tzinfo=None) if names_hours else local)
    try:
        return next(at for slot in slots if (at := _instant(slot, zone)) > after)
    except (StopIteration, OverflowError):
        return None


@lru_cache(maxsize=2_048)
def check_cron(cron: str) -> None:
    """Check that `cron` is valid and fires at all.

    Raises:
        ScheduleError: it is not, with a message that completes "`cron` ...".
    """
    if next_fire_at(cron, "UTC", datetime(2026, 1, 1, tzinfo=UTC)) is None:
        raise ScheduleError("can never fire: there is no such day")


@lru_cache(maxsize=1_024)
def check_timezone(timezone: str) -> None:
    """Check that `timezone` is a name of the IANA database.

    Raises:
        ScheduleError: it is not, with a message that completes "`timezone` ...".
    """
    _zone(timezone)


def _expand(cron: str) -> str:
    expression = MACROS.get(cron.strip().lower(), cron.strip())
    if expression.startswith("@"):
        raise ScheduleError(f"must be five fields or one of {', '.join(MACROS)}")
    count = len(expression.split())
    if count != _FIELDS:
        raise ScheduleError(
            "must have five fields (minute, hour, day of month, month, day of week);"
            f" it has {count}"
        )
    return expression


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError("must be an IANA time zone such as Europe/Berlin") from None


def _simulate(expression: str, start: datetime) -> CronSim:
    try:
        return CronSim(expression, start)
    except CronSimError as error:
        raise ScheduleError(_explain(str(error))) from None


def _explain(reason: str) -> str:
    field = reason.removeprefix("Bad ")
    if field == "day-of-month":
        return "has a day of month that is not valid or never comes"
    return f"has a {field} that is not valid"


def _instant(slot: datetime, zone: ZoneInfo) -> datetime:
    """Return a slot in UTC; a wall-clock time is first placed in its zone."""
    if slot.tzinfo is not None:
        return slot.astimezone(UTC)
    placed = slot.replace(tzinfo=zone, fold=0)
    while not _exists(placed):
        placed += _MINUTE
    return placed.astimezone(UTC)


def _exists(local: datetime) -> bool:
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(fold=0) == local.replace(fold=0)
