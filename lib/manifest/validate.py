"""Checks a normalised document and saves what can be saved.

The models check strictly. Each error is reported and then mended in the data:
a value that can be read another way is replaced (a warning), a key that is
not known is removed (a warning), anything else is removed (an error). What is
left is checked again, until it holds.

What is left of a document with errors is for showing, not for running: a
removed key falls back to its default, and the default of `allowed_tools` is
every tool.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lib.manifest.data import Map, Seq
from lib.manifest.document import WorkerDocument
from lib.manifest.keys import advise
from lib.manifest.locate import Member, locate
from lib.manifest.mend import mend
from lib.manifest.report import Report
from lib.manifest.sentences import code_of, sentence

_MAX_ROUNDS: Final = 16  # a removal can make its parent invalid, and so up to the root
_PLACEHOLDER_VERSION: Final = "0.0.0"


def validate(document: Map, report: Report, *, title: str) -> WorkerDocument | None:
    """Return the checked document, or None where nothing can be saved.

    Args:
        document: Is changed: what does not hold is mended or removed.
        report: Takes the problems.
        title: Stands in for a title or description that is missing.
    """
    validator = _Validator(document, report, title)
    for _ in range(_MAX_ROUNDS):
        try:
            return WorkerDocument.model_validate(document)
        except ValidationError as error:
            validator.mend_all(error.errors(include_url=False))
    return None


class _Validator:
    """Mends one document, round by round."""

    def __init__(self, document: Map, report: Report, title: str) -> None:
        self._document = document
        self._report = report
        self._placeholders = {
            "title": title,
            "description": title,
            "version": _PLACEHOLDER_VERSION,
        }
        self._wounded: set[int] = set()  # maps that lost a member to an error
        self._doomed: dict[int, tuple[Seq, set[int]]] = {}
        self._gone: set[tuple[int, str | int]] = set()  # members of a container, in this round

    def mend_all(self, errors: list[ErrorDetails]) -> None:
        """Report each error and mend what it is about."""
        self._gone.clear()
        # Unknown keys first: one may be what is missing, misspelt, and go with its map.
        errors = sorted(errors, key=lambda error: error["type"] != "extra_forbidden")
        # All are found before any goes: without a part of its way a path leads elsewhere.
        found = [
            locate(self._document, error["loc"], missing=error["type"] == "missing")
            for error in errors
        ]
        for error, members in zip(errors, found, strict=True):
            if not members or self._is_gone(members):
                continue
            if error["type"] == "missing":
                self._missing(error, members)
            elif error["type"] == "extra_forbidden":
                self._unknown_key(error, members)
            else:
                self._invalid(error, members)
        self._delete_doomed()

    def _is_gone(self, members: list[Member]) -> bool:
        """Whether what these lead to was removed for another error of the same round."""
        return any((id(each.container), each.key) in self._gone for each in members)

    def _missing(self, error: ErrorDetails, members: list[Member]) -> None:
        """Fill in a missing key at the root; elsewhere remove what lacks it."""
        member = members[-1]
        explained = id(member.container) in self._wounded
        if not explained:
            place = member.place
            self._report.error(place, "missing_key", sentence(error, place.path))
        if len(members) > 1:
            self._remove(members[:-1])
        elif isinstance(member.container, Map):
            placeholder = self._placeholders[str(member.key)]
            member.container.put(str(member.key), placeholder, member.place)

    def _unknown_key(self, error: ErrorDetails, members: list[Member]) -> None:
        place = members[-1].place
        full = self._report.is_full("warning")  # comparing names takes time
        message = "" if full else advise(error["loc"], place.path)
        self._report.warning(place, "unknown_key", message)
        self._drop(members[-1])

    def _invalid(self, error: ErrorDetails, members: list[Member]) -> None:
        member = members[-1]
        place = member.place
        mended = mend(error, error["input"], place) if error["input"] is member.value else None
        if mended is None:
            self._reject(error, members)
            return
        message = sentence(error, place.path)
        if mended.severity == "error":
            self._report.error(place, code_of(error), message)
        else:
            self._report.warning(place, code_of(error), f"`{place.path}` {mended.advice}.")
        member.replace(mended.value)

    def _reject(self, error: ErrorDetails, members: list[Member]) -> None:
        place, value = members[-1].place, members[-1].value
        if error["type"] == "unknown_trigger" and isinstance(value, Map):
            place = value.place_of("type")
        message = sentence(error, place.path)
        if error["loc"] == ("name",):  # the folder's name counts anyway
            self._report.warning(place, code_of(error), message)
        else:
            self._report.error(place, code_of(error), message)
        self._remove(members)

    def _remove(self, members: list[Member]) -> None:
        member = members[-1]
        self._drop(member)
        if isinstance(member.container, Map):
            self._wounded.add(id(member.container))

    def _drop(self, member: Member) -> None:
        """Remove a member; a list's at the end of the round, for its indices."""
        self._gone.add((id(member.container), member.key))
        container = member.container
        if isinstance(container, Map):
            if member.key in container:
                container.take(str(member.key))
            return
        _, indices = self._doomed.setdefault(id(container), (container, set()))
        indices.add(int(member.key))

    def _delete_doomed(self) -> None:
        for items, indices in self._doomed.values():
            kept = [index for index in range(len(items)) if index not in indices]
            items[:] = [items[index] for index in kept]
            items.places = [items.places[index] for index in kept]
        self._doomed = {}
