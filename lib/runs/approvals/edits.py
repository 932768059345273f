"""Edits of a proposal: another one takes its place, if it is one that the worker can execute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lib.errors import FieldError, Invalid
from lib.manifest.inputs import OutputSpec
from lib.manifest.models import Manifest
from lib.manifest.values import ValueMismatch, coerce
from lib.secrets.mask import Mask

POINTER: Final = "/edited_output"


def apply_edit(
    manifest: Manifest, proposal: Mapping[str, Any], edited: Mapping[str, Any], mask: Mask
) -> dict[str, Any]:
    """Return the proposal that an edit makes.

    It replaces the proposal whole. Reviewers saw it masked: a value that they
    left as they saw it stays what it is.

    Args:
        manifest: Of the run's own tree; its outputs are the schema.
        proposal: What was proposed, as it is.
        edited: What the reviewer wants instead.
        mask: Hid values in what the reviewer saw.

    Raises:
        Invalid: with a pointer below `/edited_output` for each problem.
    """
    shown = mask.json(dict(proposal))
    wanted = {
        name: _unmasked(value, shown.get(name), proposal.get(name))
        for name, value in edited.items()
    }
    problems = [*_lost(manifest, proposal, wanted)]
    for name, value in wanted.items():
        try:
            wanted[name] = _checked(manifest.find_output(name), name, value, proposal)
        except ValueMismatch as problem:
            problems.append(FieldError(f"{POINTER}/{name}", str(problem)))
    if problems:
        first = problems[0]
        name = first.pointer.removeprefix(f"{POINTER}/")
        raise Invalid(f"Mend the edited output: {name} {first.detail}.", problems)
    return wanted


def _checked(spec: OutputSpec | None, name: str, value: Any, proposal: Mapping[str, Any]) -> Any:
    if spec is None:
        if name not in proposal:
            raise ValueMismatch("is neither an output of this worker nor in its proposal")
        return value
    if spec.is_file:
        if name not in proposal or value != proposal[name]:
            raise ValueMismatch("is a file, which an edit cannot change")
        return value
    if value is None or value == "":
        if spec.required:
            raise ValueMismatch("is required, but empty")
        return value
    return coerce(spec, value)


def _lost(
    manifest: Manifest, proposal: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[FieldError]:
    """Return a problem for each required output that was proposed and is now left out."""
    return [
        FieldError(f"{POINTER}/{spec.name}", "is required, but left out")
        for spec in manifest.outputs
        if spec.required and spec.name in proposal and spec.name not in wanted
    ]


def _unmasked(value: Any, shown: Any, real: Any) -> Any:
    """Return `value` with those of its parts that are as they were shown as they really are."""
    if value == shown and type(value) is type(shown):
        return real
    if isinstance(value, dict) and isinstance(shown, dict) and isinstance(real, dict):
        hidden = dict(zip(shown, real, strict=True)) if len(shown) == len(real) else {}
        return {
            hidden.get(key, key): _unmasked(each, shown.get(key), real.get(hidden.get(key, key)))
            for key, each in value.items()
        }
    if isinstance(value, list) and isinstance(shown, list) and isinstance(real, list):
        pairs = [*zip(shown, real, strict=False)]
        pairs += [(None, None)] * (len(value) - len(pairs))
        return [_unmasked(each, *pair) for each, pair in zip(value, pairs, strict=False)]
    return value
