"""Values that a manifest gives to inputs: defaults, examples, schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib.manifest.data import Map
from lib.manifest.inputs import ValueSpec
from lib.manifest.keys import nearest
from lib.manifest.report import Place, Report, shorten
from lib.manifest.values import ValueMismatch, coerce


def read_value(
    spec: ValueSpec, value: Any, place: Place, report: Report
) -> tuple[Any, ValueMismatch | None]:
    """Return `value` as the type of an input, or None and why not.

    A number or boolean in YAML where the input takes its text is read as that
    text, with a warning.
    """
    try:
        return coerce(spec, value), None
    except ValueMismatch as mismatch:
        if place.text is None:
            return None, mismatch
    try:
        text = coerce(spec, place.text)
    except ValueMismatch as mismatch:
        return None, mismatch
    message = f'`{place.path}` must be text; write it in quotes, "{shorten(place.text)}".'
    report.warning(place, "coerced_value", message)
    return text, None


def read_values(
    specs: Sequence[ValueSpec], written: Map, report: Report, *, invalid_is_error: bool
) -> dict[str, Any]:
    """Return the values of a map of inputs that hold; the others are reported.

    Args:
        specs: The worker's inputs.
        written: The map, with its places.
        report: Takes the problems.
        invalid_is_error: Whether a value that does not hold is an error.
    """
    by_name = {spec.name: spec for spec in specs}
    say = report.error if invalid_is_error else report.warning
    values: dict[str, Any] = {}
    for name, value in written.items():
        place = written.places[name]
        if name not in by_name:
            full = report.is_full("error" if invalid_is_error else "warning")
            say(place, "unknown_input", "" if full else _unknown(place.path, name, by_name))
            continue
        if value is None:
            continue
        read, mismatch = read_value(by_name[name], value, place, report)
        if mismatch is None:
            values[name] = read
        else:
            say(place, "invalid_value", f"`{place.path}` {mismatch}.")
    return values


def _unknown(path: str, name: str, known: dict[str, ValueSpec]) -> str:
    guess = nearest(name, known)
    hint = f"; did you mean `{guess}`?" if guess else "."
    return f"`{path}` is not an input of this worker{hint}"
