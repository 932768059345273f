"""What a worker wants to be looked at, as HTML that can do nothing.

Whoever wrote the preview may mean harm: a worker read it in a mail, say. Text is
escaped, Markdown is rendered without raw HTML, images or odd links, and what is
too long is cut, with a sentence that says so.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Final

from lib.pages.json_text import NotJson, parse, pretty
from lib.pages.unicode import unix_lines

MAX_CHARACTERS: Final = 100_000
MAX_MARKDOWN_CHARACTERS: Final = 50_000  # the parser takes 1 s for the worst of it
MAX_ROWS: Final = 100
MAX_COLUMNS: Final = 30

_DELIMITERS: Final = ",;\t"
_MAIL_HEADER: Final = re.compile(r"([A-Za-z][A-Za-z-]{0,63}):[ \t]*(.*)")
_FIRST_MAIL_HEADERS: Final = frozenset({"from", "to", "cc", "bcc", "reply-to", "subject", "date"})


class _NotOfThisType(Exception):
    """The text is not what its type says; it is shown as text."""


@dataclass(frozen=True)
class Preview:
    """A preview that may stand in a page.

    Attributes:
        html: Escaped; of a few elements, see `tests/lib/pages/test_preview.py`.
        note: What the reader has to know about it; empty if nothing.
    """

    html: str
    note: str = ""


def preview(text: str, preview_type: str) -> Preview:
    """Return a preview by its type; unknown types, and text that is not of its type, as text."""
    render = _BY_TYPE.get(preview_type, _text)
    normal = unix_lines(text)
    try:
        return render(normal)
    except _NotOfThisType as ex:
        plain = _text(normal)
        return Preview(plain.html, _sentences(str(ex), plain.note))


def _text(text: str) -> Preview:
    shown, note = _cut(text, MAX_CHARACTERS)
    return Preview(_prose(shown), note)


def _markdown(text: str) -> Preview:
    from lib.pages.markdown import TooDeep, to_html

    shown, note = _cut(text, MAX_MARKDOWN_CHARACTERS)
    try:
        return Preview(to_html(shown), note)
    except TooDeep:
        raise _NotOfThisType("This is shown as text: it is nested too deeply.") from None


def _json(text: str) -> Preview:
    if len(text) > MAX_CHARACTERS:
        raise _NotOfThisType("")  # half of it is no JSON
    try:
        indented = pretty(parse(text))
    except NotJson as ex:
        raise _NotOfThisType(f"This is shown as text, as it is not valid JSON: {ex}.") from None
    shown, note = _cut(indented, MAX_CHARACTERS)
    return Preview(f"<pre>\n{escape(shown)}</pre>", note)


def _csv(text: str) -> Preview:
    shown, is_cut = _whole_lines(text)
    try:
        rows = list(_rows(shown))
    except csv.Error:
        raise _NotOfThisType("This is shown as text, as it is not valid CSV.") from None
    if not rows:
        return _text(text)
    columns = max(map(len, rows))
    note = _table_note(len(rows), columns, is_cut=is_cut)
    return Preview(_table([row[:MAX_COLUMNS] for row in rows[: MAX_ROWS + 1]], columns), note)


def _email(text: str) -> Preview:
    shown, note = _cut(text, MAX_CHARACTERS)
    lines = shown.split("\n")
    headers = _mail_headers(lines)
    if not headers:
        return Preview(_prose(shown), note)
    length = sum(count for _, _, count in headers)
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value, _ in headers
    )
    body = "\n".join(lines[length:]).removeprefix("\n")
    return Preview(f"<dl>{listed}</dl>{_prose(body)}", note)


_BY_TYPE: Final[Mapping[str, Callable[[str], Preview]]] = MappingProxyType(
    {"text": _text, "markdown": _markdown, "json": _json, "csv": _csv, "email": _email}
)


def _prose(text: str) -> str:
    # A browser drops the line break after the tag; without it, one of the text's own.
    return f'<pre class="prose">\n{escape(text)}</pre>'


def _cut(text: str, most: int) -> tuple[str, str]:
    if len(text) <= most:
        return text, ""
    return text[:most], f"Only the first {most:,} of {len(text):,} characters are shown."


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _whole_lines(text: str) -> tuple[str, bool]:
    """Return the lines of a text that end within the cap, and whether there are others."""
    if len(text) <= MAX_CHARACTERS:
        return text, False
    return text[: text.rfind("\n", 0, MAX_CHARACTERS) + 1], True


def _rows(text: str) -> Sequence[list[str]]:
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return [row for row in reader if row]


def _table(rows: Sequence[Sequence[str]], columns: int) -> str:
    width = min(columns, MAX_COLUMNS)
    head = _cells(rows[0], width, '<th scope="col">', "</th>")
    body = "".join(f"<tr>{_cells(row, width, '<td>', '</td>')}</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], width: int, start: str, end: str) -> str:
    padded = itertools.chain(row, itertools.repeat("", width - len(row)))
    return "".join(f"{start}{escape(cell)}{end}" for cell in padded)


def _table_note(rows: int, columns: int, *, is_cut: bool) -> str:
    below = rows - 1  # the first row names the columns
    parts = []
    if below > MAX_ROWS or is_cut:
        total = f"more than {below:,}" if is_cut else f"{below:,}"
        parts.append(f"Only the first {min(below, MAX_ROWS)} of {total} rows are shown.")
    if columns > MAX_COLUMNS:
        parts.append(f"Only the first {MAX_COLUMNS} of {columns:,} columns are shown.")
    return _sentences(*parts)


def _mail_headers(lines: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return name, value and number of lines of each header; none if it begins otherwise."""
    found: list[tuple[str, str, int]] = []
    for line in lines:
        if found and line[:1] in (" ", "\t") and line.strip():
            name, value, count = found[-1]
            found[-1] = (name, f"{value} {line.strip()}", count + 1)
        elif (match := _MAIL_HEADER.fullmatch(line)) and _may_follow(match[1], found):
            found.append((match[1], match[2], 1))
        else:
            break
    return found


def _may_follow(name: str, found: Sequence[object]) -> bool:
    return bool(found) or name.lower() in _FIRST_MAIL_HEADERS
