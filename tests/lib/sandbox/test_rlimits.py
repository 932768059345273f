"""Limits that the kernel holds, set in a process of their own: they cannot be taken back."""

from __future__ import annotations

import subprocess

from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

SCRIPT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from lib.sandbox import rlimits
resource.setrlimit(resource.RLIMIT_NOFILE, (600, 800))
rlimits.raise_own()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
rlimits.apply(rlimits.Ceilings(memory_bytes=1 << 30, file_bytes=1 << 30))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_worker_may_open_fewer_files_than_who_started_it() -> None:
    command = [str(base_python()), "-I", "-c", SCRIPT, str(ENGINE_ROOT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "(800, 800)\n(400, 400)\n"
