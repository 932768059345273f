"""One installer and its supervisor, both real processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lib.environments.installer_process import InstallerProcess
from lib.environments.wire import InstallExit, InstallRequest
from lib.sandbox.runtimes import base_python

LIMIT_BYTES = 1 << 20


def install(folder: Path, code: str) -> InstallExit:
    """Run an installer that is these lines of Python, in this folder."""
    lock = os.open(folder.parent / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    request = InstallRequest(
        command=(sys.executable, "-I", "-c", code),
        environment={},
        folder=str(folder),
        runtimes=(),
        readable=(),
        hidden=(),
        lock=lock,
        private_folder=str(folder.parent / "private"),
        isolation="off",
        runs_foreign_code=False,
        hosts=(),
        proxies={},
        timeout_seconds=60.0,
        memory_bytes=1 << 30,
        disk_bytes=LIMIT_BYTES,
    )
    try:
        return InstallerProcess(base_python()).run(request, lambda _line: None)
    finally:
        os.close(lock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    folder.mkdir()
    return folder


def test_an_installer_within_its_limits_ends_with_its_own_code(folder: Path) -> None:
    assert install(folder, "raise SystemExit(3)") == InstallExit(code=3)


def test_one_killed_for_a_file_that_is_too_large_ended_by_the_disk_limit(folder: Path) -> None:
    # The kernel kills it before the folder holds more than it may.
    ended = install(
        folder,
        "import os, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
        "os.kill(os.getpid(), signal.SIGXFSZ)",
    )
    assert ended.ended_by == "disk"


def test_one_that_is_over_its_limit_when_it_ends_does_not_succeed(folder: Path) -> None:
    lines = "print(n, flush=True); open(f'file{n}', 'wb').write(bytes(64 << 10))"
    ended = install(folder, f"for n in range(32): {lines}")
    assert ended.ended_by == "disk"
