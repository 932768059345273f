"""Builds plain data from YAML events, within budgets.

PyYAML's own composer is recursive and its constructors make objects. Here
depth, the number of values and what an alias may unfold to are counted as
they come, so no bytes can exhaust the stack, the memory or the time, and only
text, numbers, booleans, null, maps and lists can come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from lib.manifest.data import Map, Seq
from lib.manifest.report import Place, Report, shorten
from lib.manifest.scalars import Scalar, read_plain, read_tagged

MAX_VALUES: Final = 50_000  # ordinary manifests have some hundred
MAX_DEPTH: Final = 40  # libyaml's scanner is quadratic in the depth of lists


class Unreadable(Exception):
    """The source cannot be read any further.

    Attributes:
        code: Stable code of the problem.
        place: Where reading ended.
    """

    def __init__(self, code: str, message: str, line: int) -> None:
        super().__init__(message)
        self.code = code
        self.place = Place(None, "", line)


class Composer:
    """Builds the data of one stream.

    Duplicate keys, unknown tags and merges of what is no map are reported as
    errors and reading goes on; over a budget it ends with `Unreadable`.
    """

    def __init__(self, events: Iterator[Any], report: Report) -> None:
        self._events = events
        self._report = report
        self._anchors: dict[str, tuple[Any, str | None]] = {}
        self._nodes = 0

    def document(self) -> Any:
        """Return the one document of the stream; None if there is none."""
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        event = next(self._events)
        data = self._node(event, Place(None, "", event.start_mark.line + 1), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            line = event.start_mark.line + 1
            message = f"A second YAML document starts on line {line}; a manifest is one."
            raise Unreadable("multiple_documents", message, line)
        return data

    def _node(self, event: Any, place: Place, depth: int) -> Any:
        self._count(event.start_mark.line + 1, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place, depth)
        if isinstance(event, yaml.ScalarEvent):
            data: Any = self._scalar(event, place)
        else:
            self._check_tag(event, place)
            is_map = isinstance(event, yaml.MappingStartEvent)
            data = self._map(place, depth) if is_map else self._seq(place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = data, place.text
        return data

    def _count(self, line: int, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_VALUES:
            message = f"The manifest unfolds to more than {MAX_VALUES:,} values at line {line}."
            raise Unreadable("too_many_values", message, line)
        if depth > MAX_DEPTH:
            message = f"Line {line} is nested deeper than {MAX_DEPTH} levels."
            raise Unreadable("nested_too_deep", message, line)

    def _alias(self, event: Any, place: Place, depth: int) -> Any:
        if event.anchor not in self._anchors:
            line = event.start_mark.line + 1
            message = f"`*{shorten(event.anchor)}` names no anchor that ends before line {line}."
            raise Unreadable("unknown_anchor", message, line)
        data, place.text = self._anchors[event.anchor]
        return self._copy(data, place, depth)

    def _copy(self, data: Any, place: Place, depth: int) -> Any:
        """Return a copy whose places are those of the alias."""
        self._count(place.line, depth)
        if isinstance(data, Map):
            copied_map = Map(place)
            for key, value in data.items():
                at = place.child(key)
                copied_map.put(key, self._copy(value, at, depth + 1), at)
            return copied_map
        if isinstance(data, Seq):
            copied = Seq(place)
            for index, item in enumerate(data):
                at = place.child(index)
                copied.add(self._copy(item, at, depth + 1), at)
            return copied
        return data

    def _scalar(self, event: Any, place: Place) -> Scalar:
        text = self._text(event)
        if event.implicit[0]:
            value = read_plain(text)
        elif event.implicit[1] or event.tag is None:
            return text
        else:
            value = self._tagged(event, place)
        if value is not None and not isinstance(value, str):
            place.text = text
        return value

    def _text(self, event: Any) -> str:
        """Return a scalar's text; an escape in quotes can put a NUL into it."""
        text: str = event.value
        if "\0" in text:
            line = event.start_mark.line + 1
            message = f"The text on line {line} holds a NUL character; remove it."
            raise Unreadable("control_character", message, line)
        return text

    def _tagged(self, event: Any, place: Place) -> Scalar:
        try:
            return read_tagged(event.tag, event.value)
        except ValueError:
            self._unknown_tag(event, place)
            return str(event.value)

    def _check_tag(self, event: Any, place: Place) -> None:
        if event.tag not in {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}:
            self._unknown_tag(event, place)

    def _unknown_tag(self, event: Any, place: Place) -> None:
        message = f"The YAML tag `{shorten(event.tag)}` is not allowed here."
        self._report.error(place, "unknown_tag", message)

    def _map(self, place: Place, depth: int) -> Map:
        data = Map(place)
        merged: list[Map] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, at = self._key(event, place, depth)
            value_event = next(self._events)
            value = self._node(value_event, at, depth + 1)
            if key == "<<" and event.implicit[0]:
                merged += self._merged(value, at)
            elif key in data:
                self._duplicate(key, at, data.places[key])
            else:
                data.put(key, value, at)
        for defaults in merged:
            for key in [key for key in defaults if key not in data]:
                data.put(key, defaults[key], defaults.places[key])
        return data

    def _key(self, event: Any, place: Place, depth: int) -> tuple[str, Place]:
        """Return a key as text, whatever YAML would make of it."""
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            raise Unreadable("invalid_key", f"The key on line {line} is not text.", line)
        self._count(line, depth)
        key = self._text(event)
        return key, Place(place, key, line)

    def _merged(self, value: Any, place: Place) -> list[Map]:
        maps = value if isinstance(value, Seq) else [value]
        if all(isinstance(item, Map) for item in maps):
            return list(maps)
        self._report.error(place, "invalid_merge", "`<<` takes a map, or a list of maps.")
        return []

    def _duplicate(self, key: str, place: Place, first: Place) -> None:
        self._report.error(
            place,
            "duplicate_key",
            f"`{shorten(key)}` on line {place.line} is already set on line {first.line};"
            " the first one counts.",
        )

    def _seq(self, place: Place, depth: int) -> Seq:
        data = Seq(place)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            at = Place(place, len(data), event.start_mark.line + 1)
            data.add(self._node(event, at, depth + 1), at)
        return data
