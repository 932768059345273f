"""Plain data that remembers where each value was written."""

from __future__ import annotations

from typing import Any

from lib.manifest.report import Place


class Map(dict[str, Any]):
    """A mapping that knows the place of itself and of each member."""

    __slots__ = ("place", "places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, Place] = {}

    def put(self, key: str, value: Any, place: Place) -> None:
        """Set a member that was written at `place`."""
        self[key] = value
        self.places[key] = place

    def take(self, key: str) -> tuple[Any, Place]:
        """Remove a member and return it with its place."""
        return self.pop(key), self.places.pop(key)

    def place_of(self, key: str) -> Place:
        """Return a member's place, or where it would stand."""
        return self.places.get(key) or self.place.child(key)


class Seq(list[Any]):
    """A list that knows the place of itself and of each item."""

    __slots__ = ("place", "places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: list[Place] = []

    def add(self, value: Any, place: Place) -> None:
        """Append an item that was written at `place`."""
        self.append(value)
        self.places.append(place)


def to_plain(value: Any) -> Any:
    """Return ordinary dicts and lists, free of places."""
    if isinstance(value, dict):
        return {key: to_plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    return value
