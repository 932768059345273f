"""Inputs of a run: checked against the manifest, coerced, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lib.errors import FieldError, Invalid
from lib.manifest.inputs import InputSpec
from lib.manifest.models import Manifest
from lib.manifest.values import ValueMismatch, coerce
from lib.runs.outputs import MEBIBYTE, check_columns, check_json_keys
from lib.storage.content import ContentStore
from lib.storage.ports import UploadNotFound, UploadStore
from lib.storage.records import Upload

# What the engine adds to the inputs of a run that proposes, or follows a proposal.
_SAVED: Final = "(the saved input; change it by PATCH /workers/{id} with saved_inputs)"
STAMPED: Final = frozenset({"decision", "approved_output", "review_feedback"})


def resolve_inputs(
    manifest: Manifest, given: Mapping[str, Any], saved: Mapping[str, Any]
) -> dict[str, Any]:
    """Return every input that has a value: given over saved over default, coerced.

    `null` counts as not given. Saved values of inputs that the manifest has no
    more are left out.

    Raises:
        Invalid: with a pointer below `/inputs` for each problem.
    """
    problems = [
        _unknown(manifest, name, below="/inputs")
        for name in given
        if not _is_accepted(manifest, name)
    ]
    values: dict[str, Any] = {}
    for spec in manifest.inputs:
        if spec.is_reserved:
            continue
        try:
            value = _value(spec, given, saved)
        except ValueMismatch as problem:
            was_saved = given.get(spec.name) is None and saved.get(spec.name) is not None
            told = f"{problem} {_SAVED}" if was_saved else str(problem)
            problems.append(FieldError(f"/inputs/{spec.name}", told))
        else:
            if value is not None:
                values[spec.name] = value
    if problems:
        raise Invalid(f"Mend the inputs: {_sentence(problems[0])}", problems)
    return values


def check_saved_inputs(manifest: Manifest | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values to save, coerced; a value of None removes one.

    Raises:
        Invalid: with a pointer below `/saved_inputs` for each problem.
    """
    checked: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        spec = manifest.find_input(name) if manifest else None
        if value is None or spec is None or spec.is_reserved:
            checked[name] = None
            if value is not None:
                problems.append(_unknown(manifest, name, below="/saved_inputs"))
            continue
        try:
            checked[name] = coerce(spec, value)
        except ValueMismatch as problem:
            problems.append(FieldError(f"/saved_inputs/{name}", str(problem)))
    if problems:
        raise Invalid(f"Mend the saved inputs: {_sentence(problems[0])}", problems)
    return checked


class FileInputs:
    """Checks the uploads that file inputs name.

    Args:
        uploads: What was announced.
        content: The bytes.
    """

    def __init__(self, uploads: UploadStore, content: ContentStore) -> None:
        self._uploads = uploads
        self._content = content

    def check(
        self, manifest: Manifest, values: Mapping[str, Any], *, now: datetime
    ) -> tuple[str, ...]:
        """Return the ids of the uploads that the values name, each once.

        Raises:
            Invalid: an upload is unknown, incomplete, or not as the manifest wants it.
        """
        used = []
        problems = []
        for spec in manifest.inputs:
            if not spec.is_file or spec.name not in values:
                continue
            try:
                self._check_one(manifest, spec, values[spec.name], now)
                used.append(values[spec.name])
            except ValueMismatch as problem:
                problems.append(FieldError(f"/inputs/{spec.name}", str(problem)))
        if problems:
            raise Invalid(f"Mend the inputs: {_sentence(problems[0])}", problems)
        return tuple(dict.fromkeys(used))

    def _check_one(
        self, manifest: Manifest, spec: InputSpec, upload_id: str, now: datetime
    ) -> None:
        upload = self._find(upload_id, now)
        if spec.accepts and not _is_accepted_file(spec, upload):
            raise ValueMismatch(f"must be one of {', '.join(spec.accepts)}")
        if spec.max_size_mb is not None and upload.size > spec.max_size_mb * MEBIBYTE:
            raise ValueMismatch(f"is larger than {spec.max_size_mb:g} MiB")
        columns = spec.columns or (manifest.csv_required_columns if spec.type == "csv" else ())
        if columns or spec.json_required_keys:
            with self._content.open(upload.sha256) as file:
                check_columns(columns, file)
                check_json_keys(spec.json_required_keys, file)

    def _find(self, upload_id: str, now: datetime) -> Upload:
        try:
            upload = self._uploads.get(upload_id)
        except UploadNotFound:
            raise ValueMismatch(f"names upload {upload_id}, which does not exist") from None
        if upload.received_at is None:
            raise ValueMismatch(f"names upload {upload_id}, whose bytes were not sent yet")
        if upload.used_at is None and upload.expires_at <= now:
            raise ValueMismatch(f"names upload {upload_id}, which has expired")
        return upload


def _value(spec: InputSpec, given: Mapping[str, Any], saved: Mapping[str, Any]) -> Any:
    value = next((v[spec.name] for v in (given, saved) if v.get(spec.name) is not None), None)
    if value is None:
        value = spec.default
    if value == "" and spec.required:
        raise ValueMismatch("must not be empty")
    if value is None:
        return _absent(spec)
    return coerce(spec, value)


def _absent(spec: InputSpec) -> None:
    if spec.required:
        raise ValueMismatch("is required")


def _is_accepted(manifest: Manifest, name: str) -> bool:
    spec = manifest.find_input(name)
    return spec is not None and not spec.is_reserved


def _unknown(manifest: Manifest | None, name: str, *, below: str) -> FieldError:
    pointer = f"{below}/{name.replace('~', '~0').replace('/', '~1')}"
    if manifest is None:
        return FieldError(pointer, "is no input: the worker's manifest cannot be read")
    if manifest.find_input(name) is not None:
        return FieldError(pointer, "is set by the runtime and cannot be given")
    known = ", ".join(spec.name for spec in manifest.inputs if not spec.is_reserved)
    return FieldError(pointer, f"is no input of this worker; it takes {known or 'none'}")


def _is_accepted_file(spec: InputSpec, upload: Upload) -> bool:
    name, media_type = upload.name.lower(), upload.media_type.lower().partition(";")[0].strip()
    return any(_matches(accepted.lower(), name, media_type) for accepted in spec.accepts)


def _matches(accepted: str, name: str, media_type: str) -> bool:
    if accepted.startswith("."):
        return name.endswith(accepted)
    if accepted.endswith("/*"):
        return media_type.startswith(accepted[:-1])
    return accepted in ("*/*", media_type)


def _sentence(problem: FieldError) -> str:
    return f"{problem.pointer.rpartition('/')[2]} {problem.detail}."
