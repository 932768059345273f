"""Outputs: what a worker gives back, checked against what it declared."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from lib.manifest.inputs import OutputSpec
from lib.manifest.models import Manifest
from lib.manifest.values import ValueMismatch, coerce
from lib.runs.folder import MissingFile, UnsafePath, WorkFolder

MEBIBYTE: Final = 1024 * 1024
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_JSON_BYTES: Final = 16 * MEBIBYTE  # of a file whose keys are checked


@dataclass(frozen=True)
class FileOutput:
    """A file that an output names; stored as an artifact later."""

    name: str
    path: str
    media_type: str | None


@dataclass(frozen=True)
class OutputProblem:
    """What is wrong with one output."""

    pointer: str
    detail: str


@dataclass(frozen=True)
class Outputs:
    """Everything that was read.

    Attributes:
        values: By name; a file output's value is its FileOutput.
        undeclared: Names that the manifest does not know.
    """

    values: dict[str, Any]
    files: tuple[FileOutput, ...]
    problems: tuple[OutputProblem, ...]
    undeclared: tuple[str, ...]


def read_outputs(
    given: Mapping[str, Any], work: WorkFolder, manifest: Manifest, *, required: bool
) -> Outputs:
    """Check every declared output; `required=False` lets required ones be absent."""
    values: dict[str, Any] = {}
    problems = []
    for spec in manifest.outputs:
        try:
            value = _read(spec, given.get(spec.name), work)
            if value is None and spec.required and required:
                raise ValueMismatch(_absence(spec))
        except ValueMismatch as problem:
            problems.append(OutputProblem(f"/outputs/{spec.name}", str(problem)))
        else:
            values[spec.name] = value
    declared = {spec.name for spec in manifest.outputs}
    return Outputs(
        values,
        tuple(value for value in values.values() if isinstance(value, FileOutput)),
        tuple(problems),
        tuple(name for name in given if name not in declared),
    )


def _read(spec: OutputSpec, given: Any, work: WorkFolder) -> Any:
    if spec.is_file:
        return _read_file(spec, given, work)
    if given is None or given == "":
        return given if given is None or not spec.required else None
    return coerce(spec, given)


def _absence(spec: OutputSpec) -> str:
    if spec.is_file:
        return f"is required, but there is no file {spec.path}"
    return "is required, but missing or empty"


def _read_file(spec: OutputSpec, given: Any, work: WorkFolder) -> FileOutput | None:
    """Check the file that an output names, or the declared path. None: it is not there."""
    if given is not None and not isinstance(given, str):
        raise ValueMismatch("must be the path of a file in the working directory, as text")
    path = given or spec.path or ""
    try:
        with work.open_file(path) as file:
            _check_file(spec, file)
    except MissingFile:
        if given:
            raise ValueMismatch(f"names {path}, which is not there") from None
        return None
    except UnsafePath as error:
        raise ValueMismatch(f"{path} {error}") from error
    return FileOutput(spec.name, path, spec.media_type)


def _check_file(spec: OutputSpec, file: BinaryIO) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0 and spec.required:
        raise ValueMismatch("is an empty file")
    if spec.max_size_mb is not None and size > spec.max_size_mb * MEBIBYTE:
        raise ValueMismatch(f"is larger than {spec.max_size_mb:g} MiB")
    check_columns(spec.columns, file)
    check_json_keys(spec.json_required_keys, file)


def check_columns(columns: tuple[str, ...], file: BinaryIO) -> None:
    """Check that a CSV file's header has these columns, in any order.

    Raises:
        ValueMismatch: names those that are missing.
    """
    if not columns:
        return
    file.seek(0)
    first_line = file.read(MAX_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    header = next(csv.reader(io.StringIO(first_line, newline="")), [])
    missing = [column for column in columns if column not in {name.strip() for name in header}]
    if missing:
        raise ValueMismatch(f"has no column {', '.join(missing)}")


def check_json_keys(keys: tuple[str, ...], file: BinaryIO) -> None:
    """Check that a file holds a JSON object with these keys.

    Raises:
        ValueMismatch: it is no such object, or names the missing keys.
    """
    if not keys:
        return
    file.seek(0)
    try:
        value = json.loads(file.read(MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueMismatch("is not JSON") from error
    if not isinstance(value, dict):
        raise ValueMismatch("is not a JSON object")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueMismatch(f"has no key {', '.join(missing)}")
