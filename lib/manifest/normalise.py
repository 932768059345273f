"""From what is written to the one shape that the models check."""

from __future__ import annotations

from typing import Final

from lib.manifest.aliases import replace_aliases
from lib.manifest.data import Map
from lib.manifest.legacy import convert, convert_outputs, is_legacy
from lib.manifest.lift import lift
from lib.manifest.report import Report, show
from lib.manifest.shorthands import expand

SCHEMA_VERSION: Final = "0.3"
# In the older shape all this was right; one warning says that it is older.
_RIGHT_IN_LEGACY: Final = ("alias", "empty_key", "lifted_key", "shorthand")


def normalise(document: Map, report: Report) -> None:
    """Bring a document into the shape of schema 0.3, in place.

    Values are moved together with their places, so every later problem
    points to where the value was written.
    """
    if is_legacy(document):
        convert(document, report)
        with report.muting(_RIGHT_IN_LEGACY):
            _reshape(document, report, legacy=True)
    else:
        _check_version(document, report)
        _reshape(document, report, legacy=False)


def _reshape(document: Map, report: Report, *, legacy: bool) -> None:
    lift(document, report)
    expand(document, report)
    if legacy:
        convert_outputs(document)
    replace_aliases(document, report)


def _check_version(document: Map, report: Report) -> None:
    written = document.get("schema_version")
    place = document.place_of("schema_version")
    if written is None:
        message = '`schema_version` is missing; write `schema_version: "0.3"`.'
        report.warning(place, "missing_schema_version", message)
    elif isinstance(written, float) and place.text == SCHEMA_VERSION:
        message = '`schema_version` is a number; write it in quotes, "0.3".'
        report.warning(place, "unquoted_schema_version", message)
    elif written != SCHEMA_VERSION:
        message = f'`schema_version` must be "0.3"; it is {show(written)}.'
        report.error(place, "unknown_schema_version", message)
    document.put("schema_version", SCHEMA_VERSION, place)
