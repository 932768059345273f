"""Names that some file systems take for one another: by case, or by how an accent is written."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Name:
    """One name of a folder, as it was first spelled, and what is below it."""

    spelled: str
    below: dict[str, _Name] = field(default_factory=dict)


class Spellings:
    """The paths of one tree, each with the folders above it, in the spelling that came first.

    Takes as much room as the names have characters.
    """

    def __init__(self) -> None:
        self._top: dict[str, _Name] = {}

    def add(self, path: str) -> str | None:
        """Take a path, or return why it cannot lie beside those that were taken.

        Returns:
            The path that was taken first, `path` itself or a folder above it in
            another spelling; None: there is none, and this one is taken now.
        """
        names, above = self._top, ""
        for segment in path.split("/"):
            name = names.setdefault(_folded(segment), _Name(segment))
            if name.spelled != segment:
                return above + name.spelled
            names, above = name.below, f"{above}{segment}/"
        return None


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
