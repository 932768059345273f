r"""The file of one issue: YAML front matter, a blank line, the body, a newline.

```
---
id: ISSUE-0001
status: open
title: "Invoices: totals are off"
labels: ["billing"]
created_by: "anna"
created_at: 2026-01-01T09:30:00.000Z
---

The body.
```

What we write is read back without a YAML parser, in a tenth of its time; any
other front matter goes through one, and means the same.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lib.clock import rfc3339
from lib.manifest.data import Map, to_plain
from lib.manifest.report import Report
from lib.manifest.source import read_source

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_TITLE_CHARACTERS: Final = 300
MAX_LABELS: Final = 20
MAX_LABEL_CHARACTERS: Final = 64
STATUSES: Final = ("open", "closed")
ASSET_TYPES: Final = ("worker", "context", "run", "connection", "approval")
KEYS: Final = (
    "id", "status", "title", "asset_type", "asset_id", "source", "labels", "created_by",
    "created_at", "updated_by", "updated_at",
)  # fmt: skip

_FENCE: Final = "---\n"
# What JSON lets stand as it is, and YAML or an editor would not.
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)\Z")
_YAML_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_OURS: Final = re.compile(r"([a-z_]+): (.+)\n")


class BadIssueFile(Exception):
    """The file is no issue; the message says why, for who edited it."""


@dataclass(frozen=True, slots=True)
class Document:
    """What the file of an issue says.

    Attributes:
        created_at: Aware, UTC; None where the file does not say.
        body: Without the newline at its end.
        extra: Lines of the front matter that hold keys of somebody else, as they are.
    """

    id: str
    title: str
    body: str = ""
    status: str = "open"
    asset_type: str | None = None
    asset_id: str | None = None
    source: str | None = None
    labels: tuple[str, ...] = ()
    created_by: str | None = None
    created_at: datetime | None = None
    updated_by: str | None = None
    updated_at: datetime | None = None
    extra: str = ""


def encode(document: Document) -> bytes:
    """Return the file's bytes; what is None, or an empty list, is left out."""
    values: dict[str, Any] = {key: getattr(document, key) for key in KEYS}
    lines = [f"{key}: {_written(value)}\n" for key, value in values.items() if value not in _NONE]
    head = "".join([_FENCE, *lines, document.extra, _FENCE])
    return f"{head}\n{document.body}\n".encode()


def decode(data: bytes, *, issue_id: str) -> Document:
    """Read a file.

    Args:
        data: Its bytes.
        issue_id: What its name says; front matter without an id is that one's.

    Raises:
        BadIssueFile: it is not UTF-8, too large, has no front matter, or that
            has a value of another form.
    """
    head, body = _split(data)
    values = _read_ours(head)
    extra = ""
    if values is None:
        values, extra = _read_yaml(head)
    return _checked(values, body, extra, issue_id)


def is_plain_line(text: str) -> bool:
    """Return whether a text has no character that a title or label must not have."""
    return _CONTROL.search(text) is None


_NONE: Final = (None, ())


def _split(data: bytes) -> tuple[str, str]:
    if len(data) > MAX_FILE_BYTES:
        raise BadIssueFile(f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadIssueFile("is not UTF-8 text") from None
    begin = _FENCE_LINE.match(text)
    end = _FENCE_LINE.search(text, begin.end()) if begin else None
    if begin is None or end is None:
        raise BadIssueFile("does not begin with front matter between two lines of ---")
    body = text[end.end() :]
    body = body[1:] if body.startswith("\n") else body.removeprefix("\r\n")
    return text[begin.end() : end.start()], body.removesuffix("\n")


_FENCE_LINE: Final = re.compile(r"^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_quoted, value))}]"
    is_word = _WORD.match(value) is not None and value.lower() not in _YAML_WORDS
    return value if is_word else _quoted(value)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _read_ours(head: str) -> dict[str, Any] | None:
    """Return the values of front matter as `encode` writes it; None for any other."""
    values: dict[str, Any] = {}
    at = 0
    while at < len(head):
        line = _OURS.match(head, at)
        if line is None or line[1] not in _KNOWN or line[1] in values:
            return None
        value = _read_value(line[2])
        if value is None:
            return None
        values[line[1]] = value
        at = line.end()
    return values


def _read_value(text: str) -> Any:
    if text[0] in '"[':
        # a surrogate pair in escapes is one character to JSON and two to YAML
        if "\\ud" in text.lower() or _ESCAPED.search(text):
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None
    if _TIME.match(text) or (_WORD.match(text) and text.lower() not in _YAML_WORDS):
        return text
    return None


def _read_yaml(head: str) -> tuple[dict[str, Any], str]:
    """Return the values of any front matter, and the lines of keys that are not ours."""
    if len(head) > MAX_HEAD_BYTES:
        raise BadIssueFile(f"has front matter of more than {MAX_HEAD_BYTES // 1024} KiB")
    report = Report()
    found = read_source(head.encode(), report) if head.strip() else None
    problems = [each for each in report.problems() if each.severity == "error"]
    if found is None and not any(each.code != "not_a_mapping" for each in problems):
        raise BadIssueFile("has front matter that is not `key: value` lines")
    if found is None or problems:
        first = problems[0]
        where = f" in line {first.line + 1}" if first.line else ""
        raise BadIssueFile(f"has front matter that cannot be read{where}: {first.message}")
    ours = {key: to_plain(value) for key, value in found.items() if key in _KNOWN}
    return ours, "".join(_others(head, found))


def _others(head: str, found: Map) -> Iterator[str]:
    """Yield the lines of each key that is not ours, comments and blank lines too."""
    lines = head.splitlines(keepends=True)
    keys = sorted((found.place_of(key).line, key) for key in found)
    starts = [line for line, _ in keys]
    if len({*starts}) < len(starts) and not _KNOWN.issuperset(found):
        raise BadIssueFile("has several keys in one line; write a line for each")
    places = itertools.pairwise([*starts, len(lines) + 1])
    for (start, after), (_, key) in zip(places, keys, strict=True):
        if key not in _KNOWN:
            text = "".join(lines[start - 1 : after - 1])
            yield text if text.endswith("\n") else text + "\n"


def _checked(values: dict[str, Any], body: str, extra: str, issue_id: str) -> Document:
    given = {key: value for key, value in values.items() if value is not None}
    if given.setdefault("id", issue_id) != issue_id:
        raise BadIssueFile(f"says that its id is {given['id']!r:.60}; its name says {issue_id}")
    texts = {key: _text(given, key) for key in _TEXTS}
    title = texts["title"]
    if title is None or not title.strip() or len(title) > MAX_TITLE_CHARACTERS:
        raise BadIssueFile(f"needs a title of 1 to {MAX_TITLE_CHARACTERS} characters")
    status = texts["status"] or STATUSES[0]
    if status not in STATUSES:
        raise BadIssueFile(f"has the status {status!r:.60}; it must be open or closed")
    if (texts["asset_type"] is None) != (texts["asset_id"] is None):
        raise BadIssueFile("names an asset by half; asset_type and asset_id come together")
    return Document(
        id=issue_id,
        title=title,
        status=status,
        body=body,
        labels=_labels(given.get("labels", [])),
        extra=extra,
        created_at=_time(given, "created_at"),
        updated_at=_time(given, "updated_at"),
        asset_type=texts["asset_type"],
        asset_id=texts["asset_id"],
        source=texts["source"],
        created_by=texts["created_by"],
        updated_by=texts["updated_by"],
    )


_KNOWN: Final = frozenset(KEYS)
_TEXTS: Final = (
    "title", "status", "asset_type", "asset_id", "source", "created_by", "updated_by",
)  # fmt: skip


def _text(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a title such as 2026, an asset such as 007
    if value is not None and not (isinstance(value, str) and is_plain_line(value)):
        raise BadIssueFile(f"needs one line of text as its {key}")
    return value


def _labels(value: Any) -> tuple[str, ...]:
    labels = [value] if isinstance(value, str) else value
    if not isinstance(labels, list) or not all(
        isinstance(label, str) and is_plain_line(label) for label in labels
    ):
        raise BadIssueFile("needs a list of texts as its labels")
    return tuple(dict.fromkeys(labels))


def _time(values: dict[str, Any], key: str) -> datetime | None:
    value = values.get(key)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadIssueFile(f"has {value!r:.60} as its {key}; write a time in RFC 3339") from None
