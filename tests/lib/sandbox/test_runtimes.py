"""Runtimes: real files, the worker's search path, nothing of the server's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.sandbox.runtimes import Runtimes, base_python

RUNTIMES = Runtimes({"python": Path("/opt/py/bin/python3.11"), "bash": Path("/bin/bash")})


def test_names_of_runtimes_become_files() -> None:
    assert RUNTIMES.command(("python", "run.py", "-v")) == (
        "/opt/py/bin/python3.11",
        "run.py",
        "-v",
    )
    assert RUNTIMES.command(("python3", "run.py"))[0] == "/opt/py/bin/python3.11"
    assert RUNTIMES.command(("bash", "run.sh")) == ("/bin/bash", "run.sh")


@pytest.mark.parametrize("command", [("node", "run.js"), ("./tool",), ("/usr/bin/env", "python")])
def test_any_other_program_is_left_as_it_is(command: tuple[str, ...]) -> None:
    assert RUNTIMES.command(command) == command


def test_arguments_that_look_like_a_runtime_are_left_alone() -> None:
    assert RUNTIMES.command(("bash", "python")) == ("/bin/bash", "python")


def test_the_search_path_has_the_runtimes_first_and_each_folder_once() -> None:
    assert RUNTIMES.search_path == "/opt/py/bin:/bin:/usr/local/bin:/usr/bin"


def test_the_names_are_known() -> None:
    assert RUNTIMES.names == {"python", "bash"}


def test_python_is_the_base_interpreter_and_sees_none_of_the_server_s_packages() -> None:
    python = Runtimes.find().programs["python"]
    assert python == base_python()
    assert not python.is_symlink()
    assert Path(sys.prefix) not in python.parents or sys.prefix == sys.base_prefix
    ended = subprocess.run(
        [python, "-c", "import falcon"], env={}, capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in ended.stderr


def test_programs_are_found_on_the_server_s_own_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "node-22"
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    (tmp_path / "node").symlink_to(real)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nowhere")
    found = Runtimes.find()
    assert found.programs["node"] == real
    assert "bash" not in found.names
