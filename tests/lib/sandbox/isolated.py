"""Scripts in an interpreter of their own: isolated, of one thread, as the zygote is."""

from __future__ import annotations

import subprocess

from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

DEADLINE_SECONDS = 20


def output_of(script: str, *arguments: str) -> str:
    """Return what a script prints, which may import ours and must end well."""
    done = subprocess.run(
        [str(base_python()), "-I", "-c", _HEAD + script, str(ENGINE_ROOT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env={},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_HEAD = "import sys\nsys.path.insert(0, sys.argv[1])\n"
