"""The interpreters that this host has, and the search path that workers get."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.sandbox.local import base_python

SYSTEM_FOLDERS: Final = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True)
class Runtimes:
    """Programs by runtime name, as real files.

    Attributes:
        programs: `python`, `node` and `bash`, those that were found.
    """

    programs: dict[str, Path]

    @classmethod
    def find(cls) -> Runtimes:
        """Look for each runtime once, on the server's own search path."""
        found = {"python": base_python()}
        for name in ("node", "bash"):
            if program := shutil.which(name):
                found[name] = Path(program).resolve()
        return cls(found)

    @property
    def names(self) -> frozenset[str]:
        """Which runtimes there are."""
        return frozenset(self.programs)

    @property
    def search_path(self) -> str:
        """`PATH` of a worker: the runtimes' own folders, then the system's."""
        folders = [str(program.parent) for program in self.programs.values()]
        return ":".join(dict.fromkeys([*folders, *SYSTEM_FOLDERS]))

    def command(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command with a runtime's name replaced by its file."""
        name = "python" if command[0] == "python3" else command[0]
        program = self.programs.get(name)
        return command if program is None else (str(program), *command[1:])
