"""The normalised manifest: one flat record with every default filled in."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lib.manifest.connections import Connection, Context, Egress
from lib.manifest.document import Runtime
from lib.manifest.inputs import InputSpec, OutputSpec
from lib.manifest.policies import Approvals, Concurrency, Limits, Notify, Retry
from lib.manifest.triggers import Trigger

# A manifest's parts may be imported from here, beside the manifest.
__all__ = [
    "Approvals",
    "Concurrency",
    "Connection",
    "Context",
    "Egress",
    "InputSpec",
    "Limits",
    "Manifest",
    "Mode",
    "Notify",
    "OutputSpec",
    "Retry",
    "Runtime",
    "Trigger",
]

Mode = Literal["script", "agent"]


class Manifest(BaseModel):
    """What a worker declares, whatever shape it was written in.

    Attributes:
        id: The folder's name.
        runtime: `skill` for agents.
        entry: Path in the worker's folder; None only for a script whose
            `command` names no file of it.
        command: Program and arguments; None for agents.
        secrets: Names from every place that may declare them, in order.
        egress: Hosts that may be reached; none unless declared.
        approvals: None where the worker has no phases.
        triggers: Never empty; a worker without any has the manual one.
        example_output: Any JSON value; None where there is none.
        csv_required_columns: Columns that every CSV input must have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str
    title: str
    description: str
    version: str
    mode: Mode
    runtime: Runtime
    entry: str | None
    command: tuple[str, ...] | None
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    secrets: tuple[str, ...] = ()
    connections: tuple[Connection, ...] = ()
    contexts: tuple[Context, ...] = ()
    egress: Egress = Egress()
    limits: Limits = Limits()
    concurrency: Concurrency = Concurrency()
    retry: Retry = Retry()
    approvals: Approvals | None = None
    triggers: tuple[Trigger, ...]
    calls: tuple[str, ...] = ()
    notify: Notify | None = None
    model: str | None = None
    system_prompt: str | None = None
    warm: bool = True
    source_builds: bool = False
    issue_on_failure: bool = False
    archived: bool = False
    archive_reason: str | None = None
    paused: bool = False
    tags: tuple[str, ...] = ()
    folder: str | None = None
    visibility: Literal["private", "workspace"] = "workspace"
    long_description: str | None = None
    use_cases: tuple[str, ...] = ()
    how_it_works: str | None = None
    example_input: dict[str, Any] = {}
    example_output: Any = None
    authors: tuple[str, ...] = ()
    license: str | None = None
    homepage: str | None = None
    repository: str | None = None
    is_example: bool = False
    csv_required_columns: tuple[str, ...] = ()

    @property
    def requires_approval(self) -> bool:
        """Whether the worker has phases, so that its runs propose before they act."""
        return self.approvals is not None

    def find_input(self, name: str) -> InputSpec | None:
        """Return the input of this name, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)

    def find_output(self, name: str) -> OutputSpec | None:
        """Return the output of this name, or None."""
        return next((spec for spec in self.outputs if spec.name == name), None)
