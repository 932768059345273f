"""Limits that the kernel holds, set in a process of their own: they cannot be taken back."""

from __future__ import annotations

from tests.lib.sandbox.isolated import output_of

SCRIPT = """
import resource
from lib.sandbox import rlimits
resource.setrlimit(resource.RLIMIT_NOFILE, (600, 800))
rlimits.raise_own()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
rlimits.apply(rlimits.Ceilings(memory_bytes=1 << 30, file_bytes=1 << 30))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_worker_may_open_fewer_files_than_who_started_it() -> None:
    assert output_of(SCRIPT) == "(800, 800)\n(400, 400)"
