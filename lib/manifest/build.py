"""From a checked document to the normalised manifest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lib.manifest.checks import check_consistency
from lib.manifest.connections import Connection, Context, Egress
from lib.manifest.data import Map, Seq, to_plain
from lib.manifest.document import Author, WorkerDocument
from lib.manifest.entry import resolve_start
from lib.manifest.given import read_values
from lib.manifest.inputs import InputSpec
from lib.manifest.lift import find_map
from lib.manifest.models import Manifest
from lib.manifest.report import Report
from lib.manifest.specs import complete
from lib.manifest.triggers import ScheduleTrigger, Trigger

# Fields that the manifest takes over from the document as they are.
_SAME = (
    "title",
    "description",
    "version",
    "limits",
    "concurrency",
    "retry",
    "approvals",
    "notify",
    "model",
    "system_prompt",
    "issue_on_failure",
    "archived",
    "archive_reason",
    "paused",
    "folder",
    "visibility",
    "long_description",
    "use_cases",
    "how_it_works",
    "example_output",
    "license",
    "homepage",
    "repository",
    "is_example",
    "csv_required_columns",
)


def build_manifest(
    document: WorkerDocument,
    written: Map,
    report: Report,
    *,
    worker_id: str,
    file_names: Collection[str],
) -> Manifest:
    """Return the manifest that a document means; report contradictions.

    Args:
        document: Checked by the models.
        written: What it was checked from, for the places of problems.
        report: Takes the problems.
        worker_id: The folder's name.
        file_names: Paths in the worker's folder.
    """
    start = resolve_start(document, written, file_names, report)
    inputs = complete(document.exec.inputs, _maps(written, "exec", "inputs"), report)
    manifest = Manifest(
        id=worker_id,
        mode=start.mode,
        runtime=start.runtime,
        entry=start.entry,
        command=start.command,
        inputs=inputs,
        outputs=complete(document.exec.outputs, _maps(written, "exec", "outputs"), report),
        triggers=_triggers(document, written, inputs, report),
        example_input=_example(written, inputs, report),
        **_flattened(document),
        **{name: getattr(document, name) for name in _SAME},
    )
    check_consistency(manifest, document, written, report)
    return manifest


def _flattened(document: WorkerDocument) -> dict[str, Any]:
    """Return the fields that may be written in several ways or places."""
    capabilities = document.capabilities
    return {
        "secrets": _distinct((*document.exec.secrets, *capabilities.secrets)),
        "connections": tuple(Connection.of(entry) for entry in document.connections),
        "contexts": tuple(
            Context(name=entry) if isinstance(entry, str) else entry for entry in document.contexts
        ),
        "egress": Egress.of(capabilities.network.egress),
        "calls": _distinct(document.calls),
        "authors": tuple(_author(entry) for entry in document.authors),
        "tags": _distinct(document.tags),
        "warm": document.exec.warm,
        "source_builds": document.exec.source_builds,
    }


def _author(entry: str | Author) -> str:
    """Return `Ada <ada@example.org>` for a map of name and email."""
    if isinstance(entry, str):
        return entry
    return f"{entry.name} <{entry.email}>" if entry.email else entry.name


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _maps(written: Map, *path: str) -> Seq:
    parent = find_map(written, path[:-1])
    found = parent.get(path[-1]) if parent is not None else None
    return found if isinstance(found, Seq) else Seq(written.place)


def _example(written: Map, inputs: tuple[InputSpec, ...], report: Report) -> dict[str, Any]:
    example = written.get("example_input")
    if not isinstance(example, Map):
        return {}
    read: dict[str, Any] = to_plain(read_values(inputs, example, report, invalid_is_error=False))
    return read


def _triggers(
    document: WorkerDocument, written: Map, inputs: tuple[InputSpec, ...], report: Report
) -> tuple[Trigger, ...]:
    sources = [written.get("trigger")] if document.trigger else []
    sources += _maps(written, "triggers")
    return tuple(
        _with_inputs(trigger, source, inputs, report)
        for trigger, source in zip(document.all_triggers(), sources or [None], strict=True)
    )


def _with_inputs(
    trigger: Trigger, source: Any, inputs: tuple[InputSpec, ...], report: Report
) -> Trigger:
    given = source.get("inputs") if isinstance(source, Map) else None
    if not isinstance(trigger, ScheduleTrigger) or not isinstance(given, Map):
        return trigger
    values = read_values(inputs, given, report, invalid_is_error=True)
    return trigger.model_copy(update={"inputs": to_plain(values)})
