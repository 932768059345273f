"""What starts a run: hand, clock, webhook, an app's event, a failure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from lib.manifest.fields import Items, JsonMap, Line, Part, check, problem
from lib.manifest.schedule import ScheduleError, check_cron, check_timezone

TriggerType = Literal["manual", "schedule", "webhook", "composio", "run_failed"]
HttpMethod = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_TYPES: Final = ("manual", "schedule", "webhook", "composio", "run_failed")


def _valid_cron(cron: str) -> str:
    try:
        check_cron(cron)
    except ScheduleError as error:
        raise problem("invalid_cron", str(error)) from error
    return cron


def _valid_timezone(name: str) -> str:
    try:
        check_timezone(name)
    except ScheduleError as error:
        raise problem("invalid_timezone", str(error)) from error
    return name


class _Trigger(Part):
    label: Line | None = Field(None, description="What people read.")


class ManualTrigger(_Trigger):
    """Started by a person or through the API. Every worker can be."""

    type: Literal["manual"] = Field(description="By hand.")


class ScheduleTrigger(_Trigger):
    """Started by the clock."""

    type: Literal["schedule"] = Field(description="By the clock.")
    cron: Annotated[Line, check(_valid_cron)] = Field(
        description="Minute, hour, day of month, month, day of week; or @hourly, @daily, "
        "@weekly, @monthly, @yearly.",
        examples=["0 9 * * 1-5", "@daily"],
    )
    timezone: Annotated[Line, check(_valid_timezone)] = Field(
        "UTC", description="IANA name of the zone that `cron` is read in.", examples=["Asia/Tokyo"]
    )
    misfire: Literal["skip", "one"] = Field(
        "one", description="What becomes of slots that were missed: one late run, or a record."
    )
    inputs: JsonMap = Field({}, description="Inputs of each run.")


class WebhookTrigger(_Trigger):
    """Started by a signed request to the worker's own address."""

    type: Literal["webhook"] = Field(description="By a signed HTTP request.")
    secret: bool = Field(True, description="Whether the request must carry a signature or token.")
    allowed_methods: Items[HttpMethod] = Field(("POST",), description="HTTP methods taken.")


class ComposioTrigger(_Trigger):
    """Started by an event in a connected app."""

    type: Literal["composio"] = Field(description="By an event in a connected app.")
    event: Line = Field(description="The event's name.", examples=["GMAIL_NEW_GMAIL_MESSAGE"])
    connection_id: Line | None = Field(None, description="Only events of this connection.")
    filters: JsonMap = Field({}, description="Values that the event must hold to start a run.")


class RunFailedTrigger(_Trigger):
    """Started when a run of another worker has failed."""

    type: Literal["run_failed"] = Field(description="By the failure of a run.")


def _tag(written: Any) -> str | None:
    name = written.get("type") if isinstance(written, dict) else getattr(written, "type", None)
    return f"<{name}>" if name in _TYPES else None


# Tags look like no key, so that a place can be told from a tag in an error.
Trigger = Annotated[
    Annotated[ManualTrigger, Tag("<manual>")]
    | Annotated[ScheduleTrigger, Tag("<schedule>")]
    | Annotated[WebhookTrigger, Tag("<webhook>")]
    | Annotated[ComposioTrigger, Tag("<composio>")]
    | Annotated[RunFailedTrigger, Tag("<run_failed>")],
    Discriminator(
        _tag,
        custom_error_type="unknown_trigger",
        custom_error_message="needs a `type`: " + ", ".join(_TYPES),
    ),
]
