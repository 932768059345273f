"""From where pydantic found an error to the member of the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.manifest.data import Map, Seq
from lib.manifest.report import Place


@dataclass(frozen=True)
class Member:
    """One member of a map or a list; a map's may be absent."""

    container: Map | Seq
    key: str | int

    @property
    def place(self) -> Place:
        """Where the member stands, or would stand."""
        if isinstance(self.container, Map):
            return self.container.place_of(str(self.key))
        return self.container.places[int(self.key)]

    @property
    def value(self) -> Any:
        """The value; None where it is absent."""
        if isinstance(self.container, Map):
            return self.container.get(str(self.key))
        return self.container[int(self.key)]

    def replace(self, value: Any) -> None:
        """Put another value in the same place."""
        if isinstance(self.container, Map):
            self.container.put(str(self.key), value, self.place)
        else:
            self.container[int(self.key)] = value


def locate(document: Map, loc: Sequence[str | int], *, missing: bool = False) -> list[Member]:
    """Return the members from the root down to what `loc` names.

    Parts that name no member are skipped: they are tags of a union, or lie
    inside a value that is short for a map. `missing` makes the last part an
    absent key.
    """
    members: list[Member] = []
    current: Any = document
    for part in loc[:-1] if missing else loc:
        if _has(current, part):
            members.append(Member(current, part))
            current = members[-1].value
    if missing and isinstance(current, Map):
        members.append(Member(current, loc[-1]))
    return members


def place_of(document: Map, *path: str | int) -> Place:
    """Return the place of the value at `path`, or where it would stand."""
    current: Any = document
    place = document.place
    for part in path:
        if _has(current, part):
            member = Member(current, part)
            current, place = member.value, member.place
        else:
            current, place = None, place.child(part)
    return place


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Map):
        return part in data
    return isinstance(data, Seq) and isinstance(part, int) and part < len(data)
