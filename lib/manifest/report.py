"""Problems found in a manifest, and the collector that keeps them few.

A *shape* problem is about what is written (an unknown key, an alias); strict
mode refuses it. An *instance* problem is about this server (a runtime that it
lacks) and stays a warning everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "warning"]
Kind = Literal["shape", "instance"]

MAX_PROBLEMS_PER_SEVERITY: Final = 100  # a reader gives up long before


@dataclass(frozen=True)
class Problem:
    """One problem with one place in the manifest.

    Attributes:
        severity: An error makes the worker unusable; a warning does not.
        kind: Whether the text or this server is at fault.
        code: Stable, snake_case.
        message: One sentence for whoever edits the file.
        pointer: JSON Pointer (RFC 6901) into the source, as it was written.
        line: Line of the YAML source, counted from 1.
    """

    severity: Severity
    kind: Kind
    code: str
    message: str
    pointer: str
    line: int | None


_LONGEST_KEY: Final = 200  # of a pointer's part; longer ones are nonsense


class Place:
    """Where a value stands in the source: a link to its parent and a line."""

    __slots__ = ("key", "line", "parent", "text")

    def __init__(
        self, parent: Place | None, key: str | int, line: int, text: str | None = None
    ) -> None:
        self.parent = parent
        self.key = key
        self.line = line
        self.text = text  # as written, where YAML read a number or a boolean

    def child(self, key: str | int) -> Place:
        """Return the place of a member that is not written, on this line."""
        return Place(self, key, self.line)

    @property
    def keys(self) -> tuple[str | int, ...]:
        """Keys and indices from the root down to this place."""
        keys: list[str | int] = []
        place = self
        while place.parent is not None:
            keys.append(place.key)
            place = place.parent
        return tuple(reversed(keys))

    @property
    def pointer(self) -> str:
        """The JSON Pointer; empty for the whole document."""
        return "".join("/" + _escape(str(key)) for key in self.keys)

    @property
    def path(self) -> str:
        """The place as people write it: `exec.inputs[2].type`."""
        text = ""
        for key in self.keys:
            text += f"[{key}]" if isinstance(key, int) else f".{shorten(key, 64)}"
        return text.removeprefix(".") or "the manifest"


class Report:
    """Collects problems; past a cap it only counts them."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._dropped_at: dict[str, Place] = {}
        self._muted: frozenset[str] = frozenset()

    @contextmanager
    def muting(self, codes: Iterable[str]) -> Iterator[None]:
        """Leave out problems of these codes for a while."""
        self._muted = frozenset(codes)
        yield
        self._muted = frozenset()

    def error(self, place: Place, code: str, message: str) -> None:
        """Add a problem that makes the worker unusable."""
        self._add("error", "shape", code, message, place)

    def warning(self, place: Place, code: str, message: str) -> None:
        """Add a problem of the shape that lenient loading can live with."""
        self._add("warning", "shape", code, message, place)

    def notice(self, place: Place, code: str, message: str) -> None:
        """Add a warning about this server, which strict mode lets pass."""
        self._add("warning", "instance", code, message, place)

    def is_full(self, severity: Severity) -> bool:
        """Return whether further problems would only be counted."""
        return self._counts[severity] >= MAX_PROBLEMS_PER_SEVERITY

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the source, errors first on a line."""
        overflow = [self._overflow(severity, place) for severity, place in self._dropped_at.items()]
        found = sorted(
            self._problems, key=lambda problem: (problem.line or 0, problem.severity != "error")
        )
        return (*found, *overflow)

    def _add(self, severity: Severity, kind: Kind, code: str, message: str, place: Place) -> None:
        if code in self._muted:
            return
        full = self.is_full(severity)
        self._counts[severity] += 1
        if full:
            self._dropped_at.setdefault(severity, place)
            return
        self._problems.append(Problem(severity, kind, code, message, place.pointer, place.line))

    def _overflow(self, severity: str, place: Place) -> Problem:
        more = self._counts[severity] - MAX_PROBLEMS_PER_SEVERITY
        return Problem(
            "error" if severity == "error" else "warning",
            "shape",
            "too_many_problems",
            f"{more} more {severity}s from here on are not listed.",
            place.pointer,
            place.line,
        )


def shorten(text: str, limit: int = 80) -> str:
    """Return `text` on one line, cut to `limit` characters for a message."""
    line = " ".join(text[: limit * 2].split())
    return line if len(line) <= limit and len(text) <= limit * 2 else line[: limit - 1] + "…"


def show(value: object) -> str:
    """Return a value as a message names it: text in quotes, others by kind."""
    if isinstance(value, str):
        return f'"{shorten(value)}"' if value else "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return "a map"
    return "a list" if isinstance(value, (list, tuple)) else "empty"


def _escape(key: str) -> str:
    cut = key if len(key) <= _LONGEST_KEY else key[:_LONGEST_KEY] + "…"
    return cut.replace("~", "~0").replace("/", "~1")
