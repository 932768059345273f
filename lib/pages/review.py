"""The review page: what is proposed, and the two forms that decide on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lib.clock import spoken
from lib.pages.forms import MAX_REASON_CHARACTERS, PROPOSAL, REASON
from lib.pages.page import Page, render
from lib.pages.preview import Preview, preview
from lib.pages.review_view import NO_ANSWERS, Answers, FieldKind, ReviewView
from lib.pages.slots import MAX_FIELDS, Slot, slots
from lib.pages.values import options

MAX_SHOWN_CHARACTERS: Final = 20_000  # of a value that cannot be edited
MAX_LABEL_CHARACTERS: Final = 300

_MAX_ROWS: Final = 16
_CHARACTERS_A_ROW: Final = 60


@dataclass(frozen=True)
class Actions:
    """Where the two forms post to; with a link's token, so never logged."""

    approve: str
    reject: str


@dataclass(frozen=True)
class _Input:
    """One output as the template needs it."""

    key: str
    label: str
    help: str
    kind: FieldKind
    fixed: str
    is_cut: bool
    text: str
    rows: int
    options: Sequence[tuple[str, str]]
    problem: str

    @property
    def described_by(self) -> str:
        """Ids of the texts that say more about the field."""
        said = (("help", self.help), ("problem", self.problem))
        return " ".join(f"{self.key}-{name}" for name, text in said if text)


def review(
    view: ReviewView, actions: Actions, *, answers: Answers = NO_ANSWERS, status: int = 200
) -> Page:
    """Return the page on which a proposal is looked at, edited, approved or rejected.

    Args:
        view: What is proposed.
        actions: Where the forms go.
        answers: What the person wrote before, with what is wrong with it.
        status: 422 with problems, 409 where the proposal has changed.
    """
    inputs = [_input(slot, answers) for slot in slots(view.fields)]
    return render(
        "review.html",
        status=status,
        view=view,
        label=_short(view.label),
        actions=actions,
        answers=answers,
        inputs=inputs,
        hidden=max(0, len(view.fields) - MAX_FIELDS),
        preview=preview(view.preview, view.preview_type) if view.preview else Preview(""),
        problems=_problems(inputs, answers),
        at=spoken,
        names={"proposal": PROPOSAL, "reason": REASON},
        max_reason=MAX_REASON_CHARACTERS,
    )


def _input(slot: Slot, answers: Answers) -> _Input:
    name = slot.field.name
    text = answers.typed.get(name, slot.text) if slot.is_editable else slot.text
    is_cut = not slot.is_editable and len(text) > MAX_SHOWN_CHARACTERS
    return _Input(
        key=slot.key,
        label=_short(slot.field.title),
        help=slot.field.help,
        kind=slot.field.kind,
        fixed=slot.fixed,
        is_cut=is_cut,
        text=text[:MAX_SHOWN_CHARACTERS] if is_cut else text,
        rows=_rows(text),
        options=options(slot.field) if slot.field.kind in ("choice", "boolean") else (),
        problem=answers.problems.get(name, ""),
    )


def _problems(inputs: Sequence[_Input], answers: Answers) -> list[tuple[str, str, str]]:
    """Return id, label and sentence of each problem, in the page's order."""
    found = [(each.key, each.label, each.problem) for each in inputs if each.problem]
    if answers.reason_problem:
        found.append((REASON, "Reason", answers.reason_problem))
    return found


def _rows(text: str) -> int:
    rows = sum(1 + len(line) // _CHARACTERS_A_ROW for line in text.split("\n"))
    return min(rows, _MAX_ROWS)


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[:MAX_LABEL_CHARACTERS]}…"
