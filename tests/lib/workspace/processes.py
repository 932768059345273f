"""Writers as processes: started, let go together, killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ENGINE: Final = Path(__file__).resolve().parents[3]
_NOTHING: Final[Mapping[str, str]] = {}


def start(
    module: str, *arguments: object, environment: Mapping[str, str] = _NOTHING
) -> subprocess.Popen[str]:
    """Run a module that prints `ready` and then waits for a line; return it at that point."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ENGINE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},  # noqa: TID251 - a process like this one
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    """Let them begin."""
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kill a process and return what it printed and nobody has read.

    Not `communicate()`: that does not see what `readline()` has read ahead.
    """
    process.kill()
    with process:
        assert process.stdout
        return process.stdout.readlines()
