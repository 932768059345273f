"""Names that some file systems take for one another: by case, or by how an accent is written."""

from __future__ import annotations

import unicodedata


class Spellings:
    """The paths of one tree, each with the folders above it, in the spelling that came first."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}

    def add(self, path: str) -> str | None:
        """Take a path, or return why it cannot lie beside those that were taken.

        Returns:
            The path that was taken first, `path` itself or a folder above it in
            another spelling; None: there is none, and this one is taken now.
        """
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            each = "/".join(parts[:count])
            first = self._spelled.setdefault(_folded(each), each)
            if first != each:
                return first
        return None


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
