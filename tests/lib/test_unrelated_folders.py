"""The hint that folders are unrelated: set where it is known, harmless elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.data_folder import DataFolder
from lib.unrelated_folders import are_spread, spread_folders_below


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder on a file system that knows the hint."""
    if sys.platform != "linux":
        pytest.skip("only Linux has it")
    (tmp_path / "top").mkdir()
    try:
        spread_folders_below(tmp_path / "top")
        if not are_spread(tmp_path / "top"):
            pytest.skip("this file system ignores it")
    except OSError:
        pytest.skip("this file system does not have it")
    return tmp_path / "top"


def test_the_hint_is_for_the_folder_alone_and_may_be_given_again(folder: Path) -> None:
    (folder / "below").mkdir()
    spread_folders_below(folder)
    assert are_spread(folder)
    assert not are_spread(folder / "below")


def test_the_folders_of_runs_are_spread(folder: Path) -> None:
    data = DataFolder(folder / "data", clock=ManualClock())
    data.close()
    assert are_spread(data.runs)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_file_system_without_it_is_no_error() -> None:
    spread_folders_below(Path("/proc/self"))
