"""The manifest as it is written: the models behind the published schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from lib.manifest.connections import ConnectionEntry, ContextEntry, EgressEntry
from lib.manifest.fields import (
    Between,
    Command,
    Email,
    FilePath,
    HttpUrl,
    Items,
    Json,
    JsonMap,
    Line,
    Matching,
    Part,
    Prose,
    SecretName,
    Semver,
    Slug,
    check,
    problem,
)
from lib.manifest.inputs import InputSpec, OutputSpec
from lib.manifest.policies import Approvals, Concurrency, Limits, Notify, Retry, SystemPrompt
from lib.manifest.triggers import ManualTrigger, Trigger

Runtime = Literal["python", "node", "bash", "skill"]

_Title = Annotated[str, StringConstraints(min_length=1, max_length=120)]
_Description = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Name = Annotated[
    str, Matching("^[a-z0-9][a-z0-9_-]{1,62}[a-z0-9]$", "a slug of 3 to 64: a-z, 0-9, - and _")
]
_Tag = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Model = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _relative_folder(folder: str) -> str:
    if folder.startswith("/") or "\\" in folder or ".." in folder.split("/"):
        raise problem("invalid_folder", "must be a relative folder such as sales/leads")
    return folder.strip("/")


class Author(Part):
    """Somebody who wrote a worker."""

    name: Line = Field(description="The name.")
    email: Email | None = Field(None, description="Where to write to.")


def _author_tag(written: Any) -> str:
    return "<author>" if isinstance(written, dict) else "<name>"


AuthorEntry = Annotated[
    Annotated[Line, Tag("<name>")] | Annotated[Author, Tag("<author>")],
    Discriminator(_author_tag),
]


class Entrypoint(Part):
    """A file that a worker can be started by."""

    name: Line | None = Field(None, description="`default` or `main` is the one that is used.")
    path: FilePath = Field(description="The file.", examples=["run.py"])
    type: Line | None = Field(None, description="A remark; the file's suffix decides.")


class Exec(Part):
    """What is run, what it is given and what it gives back."""

    entry: FilePath | None = Field(
        None, description="The file that is run, or the skill.", examples=["run.py", "SKILL.md"]
    )
    mode: Literal["agent", "pure-script"] | None = Field(
        None, description="Whether a model or a program does the work. Without it: by the entry."
    )
    command: Command = Field(
        (),
        description="Command instead of the one that follows from the entry. No shell sees it.",
        examples=["python run.py", ["node", "run.js"]],
    )
    runtime: Runtime | None = Field(None, description="What runs it. Without it: by the entry.")
    runner: Literal["sandbox"] = Field("sandbox", description="Where it runs.")
    inputs: Annotated[Items[InputSpec], Field(max_length=200)] = Field(
        (), description="What a run is given."
    )
    outputs: Annotated[Items[OutputSpec], Field(max_length=200)] = Field(
        (), description="What a run must give back."
    )
    secrets: Items[SecretName] = Field(
        (), description="Secrets put into the environment.", examples=[["CRM_API_KEY"]]
    )
    warm: bool = Field(True, description="Whether a prepared interpreter may be forked.")
    source_builds: bool = Field(
        False, description="Whether dependencies may be built from source, which runs their code."
    )


class Network(Part):
    """Whether a run may use the network."""

    egress: EgressEntry = Field(
        False, description="false: no network at all; true: any public address; or a list of hosts."
    )


class Capabilities(Part):
    """What a run may reach beyond its own folder."""

    secrets: Items[SecretName] = Field((), description="Further secrets.")
    network: Network = Field(Network(), description="The network.")


class Resources(Part):
    """The memory limit, for those who look for it here."""

    memory_mb: Annotated[int, Between(64, 8_192)] | None = Field(
        None, description="The same as `limits.memory_mb`."
    )


class WorkerDocument(Part):
    """A worker's manifest, `worker.yml`, schema 0.3."""

    schema_version: Literal["0.3"] = Field(description="Version of this schema.")
    name: _Name | None = Field(None, description="The folder's name, which is the worker's id.")
    title: _Title = Field(description="What people call it.")
    description: _Description = Field(description="What it does, in a sentence or two.")
    version: Semver = Field(description="Version of the worker.", examples=["1.0.0"])
    long_description: Prose | None = Field(None, description="What it does, at length; Markdown.")
    use_cases: Annotated[Items[Line], Field(max_length=10)] = Field(
        (), description="When to use it."
    )
    how_it_works: Prose | None = Field(None, description="How it goes about it; Markdown.")
    example_input: JsonMap = Field({}, description="Inputs to try it with.")
    example_output: Json = Field(None, description="What comes out of the example.")
    folder: Annotated[str, StringConstraints(max_length=64), check(_relative_folder)] | None = (
        Field(None, description="Where it is listed.", examples=["sales/leads"])
    )
    tags: Annotated[Items[_Tag], Field(max_length=16)] = Field((), description="Words to find it.")
    authors: Items[AuthorEntry] = Field((), description="Who wrote it.")
    license: Line | None = Field(None, description="SPDX name of its licence.")
    homepage: HttpUrl | None = Field(None, description="Its page.")
    repository: HttpUrl | None = Field(None, description="Its source.")
    is_example: bool = Field(False, description="Whether it is an example to learn from.")
    visibility: Literal["private", "workspace"] = Field("workspace", description="Who sees it.")
    archived: bool = Field(False, description="Whether it is put away; stops triggers.")
    archive_reason: Annotated[str, StringConstraints(max_length=1_000)] | None = Field(
        None, description="Why."
    )
    paused: bool = Field(False, description="Whether its triggers stand still.")
    entrypoint: FilePath | None = Field(None, description="The same as `exec.entry`.")
    entrypoints: Items[Entrypoint] = Field((), description="Files that it can be started by.")
    exec: Exec = Field(Exec(), description="What is run.")
    capabilities: Capabilities = Field(Capabilities(), description="What a run may reach.")
    connections: Items[ConnectionEntry] = Field(
        (), description="Apps and MCP servers.", examples=[["gmail"]]
    )
    contexts: Items[ContextEntry] = Field((), description="Shared files.")
    limits: Limits = Field(Limits(), description="Where a run is ended.")
    resources: Resources = Field(Resources(), description="Another place for the memory limit.")
    concurrency: Concurrency = Field(Concurrency(), description="How many runs at one time.")
    retry: Retry = Field(Retry(), description="When a failed run is tried again.")
    approvals: Approvals | None = Field(None, description="Who must agree before a run acts.")
    trigger: Trigger | None = Field(None, description="What starts it; one trigger.")
    triggers: Annotated[Items[Trigger], Field(max_length=50)] = Field(
        (), description="What starts it; several triggers."
    )
    calls: Items[Slug] = Field((), description="Workers that this one may start.")
    notify: Notify | None = Field(None, description="Whom to tell about the end of a run.")
    issue_on_failure: bool = Field(
        False, description="Whether each new kind of failure opens an issue."
    )
    model: _Model | None = Field(None, description="Model of an agent.")
    system_prompt: SystemPrompt | None = Field(None, description="Further instruction of an agent.")
    csv_required_columns: Items[Line] = Field((), description="Columns that CSV inputs must have.")

    def all_triggers(self) -> tuple[Trigger, ...]:
        """Return `triggers` and `trigger` together; by hand if there is none."""
        single = () if self.trigger is None else (self.trigger,)
        return (*single, *self.triggers) or (ManualTrigger(type="manual"),)
