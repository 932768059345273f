"""Starting the zygote where the host refuses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib.sandbox.zygote_process import ENGINE_ROOT

DEADLINE_SECONDS = 20
SCRIPT = """
import os, resource, sys
from pathlib import Path
from lib.sandbox.port import SandboxUnavailable
from lib.sandbox.wire import ZygoteSettings
from lib.sandbox.zygote_process import ZygoteProcess

folder = Path(sys.argv[1])
settings = ZygoteSettings(confines=False, stage=str(folder / "stage"), uids=str(folder))
before = os.listdir("/proc/self/fd")
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
refused = 0
for spare in range(12):  # descriptors are gone at one step after the other
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + spare, hard))
    try:
        ZygoteProcess(folder / "sockets", settings).close()
    except SandboxUnavailable as error:
        refused += "cannot be started now" in str(error)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
print(refused > 3, os.listdir("/proc/self/fd") == before, os.listdir(folder / "sockets"))
"""


def test_what_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own, whose descriptors nobody else opens."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ENGINE_ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.stdout.strip() == "True True []", done.stderr
