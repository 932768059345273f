"""Reads the bytes of a manifest: UTF-8, YAML, a map at the top."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from lib.manifest.compose import Composer, Unreadable
from lib.manifest.data import Map
from lib.manifest.report import Place, Report, shorten

MAX_SOURCE_BYTES: Final = 1024 * 1024

MAX_DIRECTIVES: Final = 20  # libyaml compares each with all before it
_DIRECTIVE: Final = re.compile("^%", re.MULTILINE)

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.2 section 5.1, the characters that may stand in a stream.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_source(source: bytes, report: Report) -> Map | None:
    """Return the manifest's mapping, or None after reporting why not.

    Duplicate keys, unknown tags and keys that are not text are reported as
    errors and reading goes on.
    """
    try:
        data = Composer(_events(_decode(source)), report).document()
    except Unreadable as unreadable:
        report.error(unreadable.place, unreadable.code, str(unreadable))
        return None
    if not isinstance(data, Map):
        what = "is empty" if data is None else "does not hold a map at its top"
        report.error(Place(None, "", 1), "not_a_mapping", f"worker.yml {what}; write `key: value`.")
        return None
    return data


def decode_leniently(source: bytes) -> str:
    """Return text for looking at a source that cannot be read properly."""
    return source[:MAX_SOURCE_BYTES].decode("utf-8", "replace")


def _decode(source: bytes) -> str:
    if len(source) > MAX_SOURCE_BYTES:
        size = f"{len(source) / MAX_SOURCE_BYTES:.1f} MiB"
        raise Unreadable("source_too_large", f"worker.yml is {size}; at most 1 MiB is read.", 1)
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        message = f"Line {line} is not UTF-8 text; save the file as UTF-8."
        raise Unreadable("invalid_utf8", message, line) from error
    if match := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, match.start()) + 1
        message = f"Line {line} holds the control character U+{ord(match[0]):04X}; remove it."
        raise Unreadable("control_character", message, line)
    if len(_DIRECTIVE.findall(text)) > MAX_DIRECTIVES:
        message = f"More than {MAX_DIRECTIVES} lines start with `%`, a YAML directive."
        raise Unreadable("invalid_yaml", message, 1)
    return text


def _events(text: str) -> Iterator[Any]:
    try:
        loader = _Loader(text)
        while loader.check_event():
            yield loader.get_event()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text) from error


def _syntax_error(error: yaml.YAMLError, text: str) -> Unreadable:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    lines = text.splitlines() or [""]
    line = min(mark.line + 1, len(lines)) if mark else 1  # the end of the text is no line
    written = lines[line - 1]
    if "\t" in written[: len(written) - len(written.lstrip())]:
        message = f"Line {line} is indented with a tab; YAML wants spaces."
        return Unreadable("tab_indentation", message, line)
    what = shorten(getattr(error, "problem", None) or "it cannot be read")
    return Unreadable("invalid_yaml", f"Line {line} is not valid YAML: {what}.", line)
