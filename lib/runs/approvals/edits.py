"""Edits of a proposal: another one takes its place, if it is one that the worker can execute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lib.errors import FieldError, Invalid
from lib.manifest.inputs import OutputSpec
from lib.manifest.models import Manifest
from lib.manifest.report import shorten
from lib.manifest.values import ValueMismatch, coerce
from lib.secrets.mask import MASK, Mask

POINTER: Final = "/edited_output"
MAX_PROBLEMS: Final = 100  # a hostile edit must not become a larger answer


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
    problems = [(name, "is required, but left out") for name in _lost(manifest, proposal, wanted)]
    for name, value in wanted.items():
        try:
            if shown != proposal:
                _check_stars(name, value, shown, proposal)
            wanted[name] = _checked(manifest.find_output(name), name, value, proposal, mask)
        except ValueMismatch as problem:
            problems.append((name, str(problem)))
    if problems:
        name, detail = problems[0]
        found = [FieldError(pointer_to(name), detail) for name, detail in problems[:MAX_PROBLEMS]]
        raise Invalid(f"Mend the edited output: {shorten(name)} {detail}.", found)
    return wanted


def pointer_to(name: str) -> str:
    """Return the JSON Pointer of an output in the edit (RFC 6901, section 3)."""
    return f"{POINTER}/{name.replace('~', '~0').replace('/', '~1')}"


def name_in(pointer: str) -> str | None:
    """Return the output that a pointer of `pointer_to` leads to; None for another pointer."""
    name = pointer.removeprefix(f"{POINTER}/")
    return None if name == pointer else name.replace("~1", "/").replace("~0", "~")


def _checked(
    spec: OutputSpec | None, name: str, value: Any, proposal: Mapping[str, Any], mask: Mask
) -> Any:
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
    try:
        return coerce(spec, value)
    except ValueMismatch:
        if mask.json(value) == value:
            raise
    # The sentence quotes the value, cut and escaped, where no mask finds it.
    raise ValueMismatch("is not what this output takes, and holds a secret: write another value")


def _check_stars(
    name: str, value: Any, shown: Mapping[str, Any], proposal: Mapping[str, Any]
) -> None:
    """Check that no `***` that stands for a secret is taken for what was meant.

    Raises:
        ValueMismatch: a text that held one was changed, or moved.
    """
    real = proposal.get(name)
    holds_secret = shown.get(name) != real
    starred = {text for text in _texts(value) if text == MASK or (holds_secret and MASK in text)}
    if starred and not starred.issubset(_texts(real)):
        raise ValueMismatch(
            f"holds {MASK}, which stands for a secret: leave such texts as and where they are, "
            "or write others"
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _lost(manifest: Manifest, proposal: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return each required output that was proposed and is now left out."""
    return [
        spec.name
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
