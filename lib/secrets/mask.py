"""Hides secret values in what people read.

Standard library only: the supervisor, which runs beside the worker, masks each
line before it is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

MASK: Final = "***"
MIN_MASKED_CHARACTERS: Final = 6  # a shorter value would hide ordinary words
_MIN_CUT_CHARACTERS: Final = 3  # of a value that a cut left a piece of


class Mask:
    """Replaces values by `***`, wherever and however often they occur.

    A value of several lines, such as a private key, is hidden line by line
    too, because a log has its lines one by one; blanks around a line do not
    matter. Values that overlap in a text are hidden as one. Only the values
    themselves are found: not their base64, URL-encoded or JSON-escaped forms.

    Args:
        values: Those of fewer than MIN_MASKED_CHARACTERS characters are left out.
    """

    __slots__ = ("_parts",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._parts = _parts(values)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __repr__(self) -> str:
        return f"<Mask of {len(self._parts)}>"

    def text(self, text: str) -> str:
        """Return `text` without the values."""
        # Most texts hold none: one search a value, 30 ns each for a line.
        found = [part for part in self._parts if part in text]
        return _hide(text, _spans(text, found)) if found else text

    def excerpt(self, text: str, *, start_is_cut: bool = False, end_is_cut: bool = False) -> str:
        """Return a text without the values, nor pieces of them where it was cut."""
        spans = [*_spans(text, self._parts)]
        if start_is_cut:
            spans += [(0, end) for part in self._parts if (end := _end_of_piece(text, part))]
        if end_is_cut:
            ends = [_start_of_piece(text, part) for part in self._parts]
            spans += [(start, len(text)) for start in ends if start is not None]
        return _hide(text, spans)

    def json(self, value: Any) -> Any:
        """Return a JSON value whose texts, keys among them, are without the values."""
        if not self._parts:
            return value
        return self._masked(value)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._masked(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        return value


def can_be_masked(value: str) -> bool:
    """Whether a value is long enough to be hidden."""
    return len(value.strip()) >= MIN_MASKED_CHARACTERS


def _parts(values: Iterable[str]) -> tuple[str, ...]:
    """Return the texts to look for, each once."""
    found: dict[str, None] = {}
    for value in values:
        lines = value.replace("\r", "\n").split("\n")
        found.update(dict.fromkeys([value, *(line.strip() for line in lines)]))
    return tuple(part for part in found if len(part) >= MIN_MASKED_CHARACTERS)


def _hide(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for first, last in _merged(sorted(spans)):
        pieces += [text[end:first], MASK]
        end = last
    return "".join([*pieces, text[end:]])


def _spans(text: str, parts: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where parts are, those that overlap themselves included."""
    for part in parts:
        at = text.find(part)
        while at >= 0:
            yield at, at + len(part)
            at = text.find(part, at + 1)


def _end_of_piece(text: str, part: str) -> int:
    """Return where a piece that `part` ends with stops, if the text begins with one; else 0."""
    tail = part[-_MIN_CUT_CHARACTERS:]
    at = text.rfind(tail, 0, len(part) - 1)
    while at >= 0:
        end = at + len(tail)
        if part.endswith(text[:end]):
            return end
        at = text.rfind(tail, 0, end - 1)
    return 0


def _start_of_piece(text: str, part: str) -> int | None:
    """Return where a piece that `part` begins with starts, if the text ends with one."""
    head = part[:_MIN_CUT_CHARACTERS]
    at = text.find(head, max(0, len(text) - len(part) + 1))
    while at >= 0:
        if part.startswith(text[at:]):
            return at
        at = text.find(head, at + 1)
    return None


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield spans in order, those that touch or overlap as one."""
    first, last = -1, -1
    for start, end in spans:
        if start > last:
            if last >= 0:
                yield first, last
            first = start
        last = max(last, end)
    if last >= 0:
        yield first, last


NO_MASK: Final = Mask()
