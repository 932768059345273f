"""The forms of the review page, read back as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from lib.errors import MalformedRequest
from lib.pages.review_view import NO_ANSWERS, Answers, ReviewField
from lib.pages.slots import MAX_FIELDS, Slot, slots
from lib.pages.unicode import unix_lines
from lib.pages.values import BadText, value_of

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
MAX_FORM_BYTES: Final = 1024 * 1024
MAX_REASON_CHARACTERS: Final = 2_000
PROPOSAL: Final = "proposal_sha256"
REASON: Final = "reason"
CHANGED: Final = (
    "The proposal has changed since you opened this page. Look at it again before you decide."
)


@dataclass(frozen=True)
class Approval:
    """A filled-in form that approves.

    Attributes:
        is_current: Whether it is about the proposal that there is now; if not,
            the rest is empty.
        edits: New values by output, of those alone that were changed.
        answers: What to show again where the vote cannot be taken.
    """

    is_current: bool
    edits: Mapping[str, Any] = field(default_factory=dict)
    answers: Answers = NO_ANSWERS

    @property
    def can_be_taken(self) -> bool:
        """Whether the vote counts as it is."""
        return self.is_current and not self.answers.problems


@dataclass(frozen=True)
class Rejection:
    """A filled-in form that rejects.

    Attributes:
        is_current: Whether it is about the proposal that there is now.
        reason: Why; empty if the person gave none.
        answers: What to show again where the vote cannot be taken.
    """

    is_current: bool
    reason: str = ""
    answers: Answers = NO_ANSWERS

    @property
    def can_be_taken(self) -> bool:
        """Whether the vote counts as it is."""
        return self.is_current and not self.answers.reason_problem


def read_approval(body: bytes, fields: Sequence[ReviewField], proposal_sha256: str) -> Approval:
    """Read the form that approves, against the proposal that there is now.

    A field that is not in the form is unchanged.

    Raises:
        MalformedRequest: it is no such form: badly encoded, over MAX_FORM_BYTES,
            or with a field twice or one that the page does not have.
    """
    given = _fields(body)
    if given.pop(PROPOSAL) != proposal_sha256:
        return Approval(is_current=False, answers=Answers(notice=CHANGED))
    editable = {slot.key: slot for slot in slots(fields) if slot.is_editable}
    _refuse_others(given, editable)
    return _approval([(editable[key], text) for key, text in given.items()])


def read_rejection(body: bytes, proposal_sha256: str) -> Rejection:
    """Read the form that rejects, against the proposal that there is now.

    Raises:
        MalformedRequest: as for `read_approval`.
    """
    given = _fields(body)
    is_current = given.pop(PROPOSAL) == proposal_sha256
    reason = unix_lines(given.pop(REASON, "")).strip()
    _refuse_others(given, {})
    if len(reason) > MAX_REASON_CHARACTERS:
        answers = Answers(reason=reason, reason_problem=_too_long(len(reason)))
    else:
        answers = Answers(reason=reason, notice="" if is_current else CHANGED)
    return Rejection(is_current, reason, answers)


def _approval(texts: Sequence[tuple[Slot, str]]) -> Approval:
    edits: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for slot, text in texts:
        try:
            value = value_of(slot.field, text)
        except BadText as ex:
            problems[slot.field.name] = str(ex)
            continue
        if value is not slot.field.value:
            edits[slot.field.name] = value
    typed = {slot.field.name: text for slot, text in texts}
    return Approval(is_current=True, edits=edits, answers=Answers(typed=typed, problems=problems))


def _fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form by name, the proposal's digest among them."""
    if len(body) > MAX_FORM_BYTES:
        raise MalformedRequest(f"Send a form of at most {MAX_FORM_BYTES:,} bytes.")
    pairs = _pairs(body)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("Send each field of the form once.")
    if PROPOSAL not in found:
        raise MalformedRequest(f"Send the form of the page, with its {PROPOSAL}.")
    return found


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS + 2,  # and the proposal, and the reason
        )
    except ValueError:  # of both decodings, too
        raise MalformedRequest(f"Send the form as {MEDIA_TYPE} in UTF-8.") from None


def _refuse_others(given: Mapping[str, str], known: Mapping[str, object]) -> None:
    if given.keys() - known.keys():
        raise MalformedRequest("Send only the fields that the page has.")


def _too_long(length: int) -> str:
    return f"Shorten the reason to {MAX_REASON_CHARACTERS:,} characters; it has {length:,}."
