"""What the review page shows, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from lib.pages.unicode import survives_a_form

FieldKind = Literal["text", "integer", "number", "boolean", "choice", "json", "file"]

_TEXT_TYPES: Final = frozenset(
    {"string", "text", "textarea", "markdown", "csv", "url", "email", "date", "datetime", "select"}
)


@dataclass(frozen=True)
class Choice:
    """One allowed value of an output, and what it is called."""

    value: Any
    label: str


@dataclass(frozen=True)
class ReviewField:
    """One proposed output.

    Attributes:
        name: Its key in the proposal.
        type: As the manifest declares it; `json` where it declares none.
        value: What is proposed: a JSON value; of a file its path.
        label: Shown instead of the name.
        help: One or two sentences on what it is.
        choices: The allowed values, if it is not free.
        is_file: Whether it is a file, which is shown and not edited.
        is_masked: Whether the value holds `***` for a secret. It is not edited
            either, or the stars would be taken for what was meant.
    """

    name: str
    type: str
    value: Any
    label: str = ""
    help: str = ""
    choices: Sequence[Choice] = ()
    is_file: bool = False
    is_masked: bool = False

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name or '""'

    @property
    def kind(self) -> FieldKind:
        """How it is edited: by its type, or as JSON where the value is of another type."""
        if self.is_file:
            return "file"
        if self.choices:
            return "choice"
        return _kind(self.type, self.value)


@dataclass(frozen=True)
class ReviewView:
    """An approval that waits for a vote.

    Attributes:
        label: What is asked, such as "Send this mail?".
        requested_at: When it was proposed.
        expires_at: When it is too late.
        preview: What the worker wants to be looked at; empty shows none.
        preview_type: `text`, `markdown`, `json`, `csv` or `email`.
        fields: The proposed outputs, in their order.
        proposal_sha256: Of the proposal; a vote names the one that it is for.
        voter: As whom the link's one vote counts; empty if as nobody.
        votes: Votes that there are.
        required: Votes that it takes.
    """

    label: str
    requested_at: datetime
    expires_at: datetime
    preview: str
    preview_type: str
    fields: Sequence[ReviewField]
    proposal_sha256: str
    voter: str = ""
    votes: int = 0
    required: int = 1


@dataclass(frozen=True)
class Answers:
    """What a person wrote on the page, to be shown again.

    Attributes:
        typed: Texts by the output's name.
        problems: Sentences by the output's name.
        reason: Why it is rejected.
        reason_problem: What is wrong with the reason; empty if nothing.
        notice: What to say above all; empty if nothing.
    """

    typed: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    reason_problem: str = ""
    notice: str = ""


NO_ANSWERS: Final = Answers()


def _kind(declared: str, value: Any) -> FieldKind:
    if isinstance(value, str) and declared in _TEXT_TYPES and survives_a_form(value):
        return "text"
    if declared == "boolean" and isinstance(value, bool):
        return "boolean"
    if declared == "integer" and _is_integer(value):
        return "integer"
    if declared == "number" and (_is_integer(value) or _is_finite(value)):
        return "number"
    return "json"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
