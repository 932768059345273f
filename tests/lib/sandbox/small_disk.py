"""A disk that is soon full: a tmpfs in a mount namespace that only one process is in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE_BYTES = 256 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """Its root, and a descriptor of that."""

    path: Path
    descriptor: int

    def fill(self, *, spare_bytes: int = 0) -> None:
        """Leave no room, or only so much, in whole pages."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(4096)) == 4096:
                    pass
            file.truncate(file.tell() - spare_bytes)

    def clear(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount one where this process may; it is reached by way of the process that is there."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting takes root and unshare(1)")
    script = f'mount -t tmpfs -o size={SIZE_BYTES} disk "$0" && echo ready && exec cat'
    there = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with there:
        assert there.stdout is not None
        if there.stdout.readline() != b"ready\n":
            pytest.skip("this host does not let root mount")
        path = Path(f"/proc/{there.pid}/root{tmp_path}")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        yield SmallDisk(path, descriptor)
        os.close(descriptor)
