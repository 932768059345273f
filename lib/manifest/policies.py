"""How runs are held: limits, concurrency, retry, approvals, notices."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from lib.manifest.fields import Between, Email, HttpUrl, Items, Line, Part, SecretName

MIB: Final = 1024 * 1024

RetryCause = Literal[
    "timeout",
    "interrupted",
    "execution_error",
    "memory_exceeded",
    "install_failed",
    "missing_result",
]
NotifyCause = Literal["failed", "pending_approval", "completed"]


class Limits(Part):
    """Where a run is ended. A limit without a value does not end it."""

    timeout_seconds: Annotated[int, Between(1, 3_600)] = Field(
        300, description="Wall time, in seconds. On AWS at most 840."
    )
    memory_mb: Annotated[int, Between(64, 8_192)] = Field(512, description="Memory, in MiB.")
    cpu_seconds: Annotated[int, Between(1, 86_400)] | None = Field(
        None, description="CPU time of all processes, in seconds."
    )
    processes: Annotated[int, Between(1, 4_096)] = Field(
        64, description="Processes and threads at one time."
    )
    disk_mb: Annotated[int, Between(1, 65_536)] = Field(
        512, description="Size of the run's folder, in MiB."
    )
    log_bytes: Annotated[int, Between(1_024, 256 * MIB)] = Field(
        4 * MIB, description="Log kept; of a longer one head and tail."
    )
    output_bytes: Annotated[int, Between(1_024, 10_240 * MIB)] = Field(
        100 * MIB, description="Size of all outputs and artifacts together."
    )
    max_tool_iterations: Annotated[int, Between(1, 1_000)] = Field(
        12, description="Agents: rounds of tool calls."
    )
    max_output_tokens: Annotated[int, Between(1)] | None = Field(
        None, description="Agents: tokens of one answer of the model."
    )
    max_total_tokens: Annotated[int, Between(1)] | None = Field(
        None, description="Agents: tokens of a whole run."
    )
    max_cost_usd: Annotated[float, Between(0)] | None = Field(
        None, description="Agents: cost of a whole run, in US dollars."
    )


class Concurrency(Part):
    """How many runs of this worker may run at one time."""

    max: Annotated[int, Between(0, 10_000)] = Field(0, description="Runs at one time; 0: no cap.")
    on_limit: Literal["queue", "skip"] = Field("queue", description="What a further run does.")


class Retry(Part):
    """When a failed run is tried again: as the same run, attempt + 1."""

    max_attempts: Annotated[int, Between(1, 10)] = Field(
        1, description="Attempts in all; 1: no retry."
    )
    delay_seconds: Annotated[int, Between(0, 86_400)] = Field(
        60, description="Wait before the second attempt."
    )
    backoff: Annotated[float, Between(1, 10)] = Field(
        2, description="Each further wait is the last one times this."
    )
    on: Items[RetryCause] = Field(
        (
            "timeout",
            "interrupted",
            "execution_error",
            "memory_exceeded",
            "install_failed",
            "missing_result",
        ),
        description="Failures that are tried again.",
    )


class Approvals(Part):
    """Who must agree before a run acts. Having it gives the worker two phases."""

    required: bool = Field(False, description="Whether every run asks, even unasked.")
    label: Line | None = Field(None, description="What is being approved.")
    expires_after_hours: Annotated[float, Between(0.01, 8_760)] = Field(
        72, description="Hours until an undecided approval expires."
    )
    on_expire: Literal["reject", "approve"] = Field(
        "reject",
        description="What expiry means. `approve` only without approvers and with one vote.",
    )
    required_approvals: Annotated[int, Between(1, 10)] = Field(1, description="Votes needed.")
    approvers: Items[Line] = Field(
        (), description="E-mail addresses or user ids; empty: anybody who may see the run."
    )
    allow_self: bool = Field(True, description="Whether the vote of who started the run counts.")


def _list_of_one(written: Any) -> Any:
    return [written] if isinstance(written, str) else written


class Notify(Part):
    """Whom to tell about the end of a run."""

    url: HttpUrl | None = Field(None, description="Receives a signed webhook.")
    email_to: Annotated[
        Items[Email],
        BeforeValidator(_list_of_one),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "format": "email"},
                    {"type": "array", "items": {"type": "string", "format": "email"}},
                ]
            }
        ),
    ] = Field((), description="Receives a mail.")
    on: Items[NotifyCause] = Field(
        ("failed", "pending_approval", "completed"), description="What is told."
    )
    secret: SecretName | None = Field(
        None, description="Name of the secret that signs the webhook, never its value."
    )


SystemPrompt = Annotated[str, StringConstraints(max_length=100_000)]
