"""What this repository remembers of its bundle store: that it was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from lib.workspace.durable import replace_file

_MAX_BYTES: Final = 64 * 1024


class Memory:
    """Whether a store's pointer was ever seen: from then on a missing one is a loss.

    Args:
        path: Of the file, inside the repository.
        address: The store's, with the workspace's prefix; another one starts anew.
    """

    def __init__(self, path: Path, address: str) -> None:
        self._path = path
        self._address = address
        self._has_seen = self._read()

    @property
    def has_seen(self) -> bool:
        """Whether the store had a pointer once."""
        return self._has_seen

    def keep(self) -> None:
        """Remember that it has one now.

        Raises:
            OSError: it cannot be written.
        """
        if not self._has_seen:
            replace_file(self._path, json.dumps({"seen": self._address}).encode() + b"\n")
            self._has_seen = True

    def _read(self) -> bool:
        try:
            with self._path.open("rb") as file:
                known = json.loads(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return False
        except (ValueError, RecursionError):
            return True  # torn by a power cut: never take a lost store for a new one
        return not isinstance(known, dict) or known.get("seen") == self._address
