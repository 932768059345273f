"""Small files, read and written by one call each."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.sandbox import kernel_files


def test_a_file_of_the_kernel_s_is_read_whole() -> None:
    assert kernel_files.read("/proc/self/stat").endswith(b"\n")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kernel_files.write(f"{tmp_path}/file", "64")
    assert kernel_files.read(f"{tmp_path}/file") == b"64"


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kernel_files.write(f"{tmp_path}/file", "64")
    assert not (tmp_path / "file").exists()
