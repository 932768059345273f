"""A disk that is soon full, or cannot be written: a tmpfs in a mount namespace that only one process is in."""

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
    keeper: subprocess.Popen[bytes]

    def fill(self, *, spare_bytes: int = 0) -> None:
        """Leave no room, or only so much, in whole pages."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(4096)) == 4096:
                    pass
            file.truncate(file.tell() - spare_bytes)

    def remount(self, options: str) -> None:
        """Mount it anew: `ro`, or `rw`."""
        assert self.keeper.stdin is not None
        assert self.keeper.stdout is not None
        self.keeper.stdin.write(options.encode() + b"\n")
        self.keeper.stdin.flush()
        assert self.keeper.stdout.readline() == b"done\n"

    def clear(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount one where this process may; it is reached by way of the process that is there."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting takes root and unshare(1)")
    size = getattr(request, "param", SIZE_BYTES)
    script = (
        f'mount -t tmpfs -o size={size} disk "$0" && echo ready && '
        # busy while somebody has a file open for writing
        'while read how; do until mount -o "remount,$how" "$0" 2>/dev/null; do sleep 0.02; done; '
        "echo done; done"
    )
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
        yield SmallDisk(path, descriptor, there)
        os.close(descriptor)
