"""The interpreters that this host has, and the search path that workers get."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM_FOLDERS: Final = ("/usr/local/bin", "/usr/bin", "/bin")

# What an interpreter that was unpacked somewhere has beside its `bin`. Without
# it the folder above may be anything, such as a home.
_SIGNS_OF_A_PREFIX: Final = ("lib/node_modules", "include/node", "lib/bash")


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


@functools.cache
def base_python() -> Path:
    """Return the base interpreter's real file, never a virtual environment's or a shim."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return Path(base).resolve()


def runtime_folders(programs: Iterable[Path]) -> tuple[str, ...]:
    """Return what must be readable for these interpreters to work."""
    folders = [Path(sys.base_prefix).resolve(), *(_folder_of(program) for program in programs)]
    return tuple(dict.fromkeys(str(folder) for folder in folders))


def _folder_of(program: Path) -> Path:
    if program == base_python():
        return Path(sys.base_prefix).resolve()
    prefix = program.parent.parent
    has_signs = any((prefix / sign).exists() for sign in _SIGNS_OF_A_PREFIX)
    return prefix if program.parent.name == "bin" and has_signs else program
