"""The real server on each kind of host that it may find itself on."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.sandbox.runtimes import base_python
from tests.e2e.server import ROOT, ServerProcess
from tests.lib.sandbox.attacks.stage import (
    NOBODY,
    SITUATIONS,
    SYSTEM_PYTHON,
    Situation,
    is_open_to_all,
    lacking,
)


@contextmanager
def server_in(situation: Situation) -> Iterator[ServerProcess]:
    """Run a server in a situation; skip where that cannot be had."""
    if reason := lacking(situation):
        pytest.skip(f"{situation}: {reason}")
    if not is_open_to_all(ROOT / "local_server.py") and situation.endswith("user"):
        pytest.skip("the project's folder is closed to other users")
    python, variables = python_for(situation)
    # Not below pytest's own folder, which is closed to other users.
    root = Path(tempfile.mkdtemp(prefix="floom-situation-", dir="/tmp"))
    if situation.endswith("user") and os.geteuid() == 0:
        os.chown(root, NOBODY, NOBODY)
    root.chmod(0o755)
    launcher = [python, str(ROOT / "tests" / "e2e" / "start_as.py"), situation, python]
    with ServerProcess(root / "var", 0, launcher, **variables) as running:
        yield running
    shutil.rmtree(root)


def python_for(situation: Situation) -> tuple[str, dict[str, str]]:
    """Return an interpreter that the server's user can reach, and what it needs."""
    if situation == "root":
        return sys.executable, {}
    if is_open_to_all(base_python()) and is_open_to_all(Path(sys.executable)):
        return sys.executable, {}
    (packages,) = Path(sys.prefix).glob("lib/python3.*/site-packages")
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if SYSTEM_PYTHON.resolve().name != own or not is_open_to_all(packages / "falcon"):
        pytest.skip(f"another user cannot use {base_python()}, and {SYSTEM_PYTHON} is not {own}")
    return str(SYSTEM_PYTHON.resolve()), {"PYTHONPATH": str(packages)}


__all__ = ["SITUATIONS", "Situation", "server_in"]
