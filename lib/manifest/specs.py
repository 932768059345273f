"""Inputs and outputs made whole: kind, options, paths and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

from lib.manifest.data import Map
from lib.manifest.given import read_value
from lib.manifest.inputs import (
    TEXT_TYPES,
    InputSpec,
    Option,
    OutputSpec,
    ValueSpec,
    ValueType,
    choice_label,
)
from lib.manifest.locate import place_of
from lib.manifest.report import Report

SpecT = TypeVar("SpecT", bound=ValueSpec)

_FILE_KEYS: Final = (
    "path",
    "media_type",
    "accepts",
    "max_size_mb",
    "columns",
    "json_required_keys",
)
_LENGTHS: Final = ("min_length", "max_length")
_NUMBER_TYPES: Final = frozenset({"number", "integer"})
# Suffix, media type and value type of what a file may hold.
_FORMATS: Final[tuple[tuple[str, str, ValueType], ...]] = (
    (".csv", "text/csv", "csv"),
    (".md", "text/markdown", "markdown"),
    (".json", "application/json", "json"),
)


def complete(specs: Sequence[SpecT], written: Sequence[Map], report: Report) -> tuple[SpecT, ...]:
    """Return the specs made whole; of two with one name the first.

    Args:
        specs: Inputs, or outputs.
        written: The maps that they were read from, in the same order.
        report: Takes the problems.
    """
    completed: dict[str, SpecT] = {}
    paths: dict[str, str] = {}
    for spec, source in zip(specs, written, strict=True):
        if spec.name in completed:
            message = f"`{source.place.path}` is the second one named `{spec.name}`."
            report.error(source.place_of("name"), "duplicate_name", message)
            continue
        whole = completed[spec.name] = _complete(spec, source, report)
        first = paths.setdefault(whole.path, whole.name) if whole.path else whole.name
        if first != whole.name:
            message = f"`{source.place.path}` has the same path as `{first}`, {whole.path}."
            report.error(source.place_of("path"), "duplicate_path", message)
    return tuple(completed.values())


def _complete(spec: SpecT, source: Map, report: Report) -> SpecT:
    changes = _kind(spec, source, report) | _choices(spec, source, report)
    spec = spec.model_copy(update=changes)
    if spec.is_file:
        spec = spec.model_copy(update=_file(spec))
    _check_bounds(spec, source, report)
    if isinstance(spec, InputSpec) and spec.default is not None:
        spec = spec.model_copy(update={"default": _default(spec, source, report)})
    return spec


def _kind(spec: ValueSpec, source: Map, report: Report) -> dict[str, Any]:
    file_keys = [key for key in _FILE_KEYS if key in spec.model_fields_set]
    if "kind" not in spec.model_fields_set:
        return {"kind": "file" if file_keys else "scalar"}
    if not spec.is_file and file_keys:
        keys = ", ".join(f"`{key}`" for key in file_keys)
        message = f"`{source.place.path}` is a scalar; {keys} means something for files only."
        report.warning(source.place_of(file_keys[0]), "ignored_key", message)
    return {}


def _choices(spec: ValueSpec, source: Map, report: Report) -> dict[str, Any]:
    """Make `enum` and `options` agree; if they differ, `options` counts."""
    options = spec.options or tuple(
        Option(value=value, label=choice_label(value)) for value in spec.enum
    )
    values = tuple(option.value for option in options)
    if spec.enum and spec.options and set(map(repr, spec.enum)) != set(map(repr, values)):
        message = f"`{source.place.path}`: `enum` and `options` differ; `options` counts."
        report.warning(source.place_of("enum"), "contradiction", message)
    if spec.type == "select" and not spec.is_file and not options:
        message = f"`{source.place.path}` is a select and needs `options`, or `enum`."
        report.error(source.place_of("options"), "missing_options", message)
    return {"options": options, "enum": values}


def _file(spec: ValueSpec) -> dict[str, Any]:
    """Return what follows for a file from its path, media type or type."""
    suffix = PurePosixPath(spec.path or "").suffix.lower()
    known = [
        row
        for row in _FORMATS
        if suffix == row[0] or spec.media_type == row[1] or spec.type == row[2]
    ]
    changes: dict[str, Any] = {}
    if known and "type" not in spec.model_fields_set:
        changes["type"] = known[0][2]
    if known and spec.media_type is None:
        changes["media_type"] = known[0][1]
    if isinstance(spec, OutputSpec) and spec.path is None:
        changes["path"] = f"out/{spec.name}{known[0][0] if known else ''}"
    return changes


def _check_bounds(spec: ValueSpec, source: Map, report: Report) -> None:
    bounds = spec.bounds
    for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
        low_end, high_end = getattr(bounds, low), getattr(bounds, high)
        if low_end is not None and high_end is not None and low_end > high_end:
            message = f"`{source.place.path}.bounds.{low}` is above `{high}`: no value can hold."
            report.error(source.place_of("bounds"), "empty_range", message)
    for keys, types in ((("minimum", "maximum"), _NUMBER_TYPES), (_LENGTHS, TEXT_TYPES)):
        for key in keys:
            if getattr(bounds, key) is not None and spec.type not in types:
                message = (
                    f"`{source.place.path}.bounds.{key}` means nothing for the type {spec.type}."
                )
                report.warning(place_of(source, "bounds", key), "ignored_key", message)


def _default(spec: InputSpec, source: Map, report: Report) -> Any:
    """Return the default as the input's type; None if it is not."""
    if spec.default == "" and not _takes_empty(spec):
        message = f"`{source.place.path}.default` is empty, which is no {spec.type}; leave it out."
        report.warning(source.place_of("default"), "empty_default", message)
        return None
    default, mismatch = read_value(spec, spec.default, source.place_of("default"), report)
    if mismatch:
        message = f"`{source.place.path}.default` {mismatch}."
        report.error(source.place_of("default"), "invalid_default", message)
    return default


def _takes_empty(spec: InputSpec) -> bool:
    return spec.type in TEXT_TYPES or spec.type == "json" or "" in spec.enum
