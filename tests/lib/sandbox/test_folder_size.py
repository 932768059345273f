"""The size of a folder: what is really on disk, whatever is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.sandbox.folder_size import ENTRY_BYTES, FolderSize

BLOCK = 4096


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def size(path: Path) -> int:
    return FolderSize(opened(path)).measure()


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert size(tmp_path) == 0


def test_files_at_any_depth_count(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "x").write_bytes(b"x" * 10 * BLOCK)
    (tmp_path / "a" / "b" / "y").write_bytes(b"y" * 5 * BLOCK)
    assert 15 * BLOCK <= size(tmp_path) < 25 * BLOCK


def test_holes_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1024**3)
    assert size(tmp_path) < 1024**2


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "file").write_bytes(b"x" * 100 * BLOCK)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").symlink_to(tmp_path / "big" / "file")
    (tmp_path / "work" / "folder").symlink_to(tmp_path / "big")
    (tmp_path / "work" / "loop").symlink_to(tmp_path / "work")
    assert size(tmp_path / "work") < 10 * BLOCK


def test_special_files_do_not_stop_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert size(tmp_path) == ENTRY_BYTES


def test_empty_files_and_folders_count_for_they_use_inodes_up(tmp_path: Path) -> None:
    for n in range(50):
        (tmp_path / f"file-{n}").touch()
        (tmp_path / f"folder-{n}").mkdir()
    assert size(tmp_path) == 100 * ENTRY_BYTES


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def nest(folder: Path, levels: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A folder for what is too deep for whoever tidies up after tests."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_a_folder_nested_to_hide_its_size_is_too_large(nested: Path) -> None:
    nest(nested, sys.getrecursionlimit() + 100)
    folder = FolderSize(opened(nested))
    before = open_descriptors()
    assert folder.measure() == sys.maxsize
    assert open_descriptors() == before  # nothing stays open on the way out
    folder.close()


def test_folders_that_are_nested_deeply_count(nested: Path) -> None:
    levels = sys.getrecursionlimit() * 7 // 10
    nest(nested, levels)
    assert size(nested) == levels * ENTRY_BYTES


def test_the_next_measurement_waits_in_proportion_to_the_last(tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / str(number)).touch()
    folder = FolderSize(opened(tmp_path))
    assert folder.due()
    folder.measure()
    assert not folder.due()


def test_files_without_a_name_count_while_they_are_open(tmp_path: Path) -> None:
    with (tmp_path / "hidden").open("wb") as file:
        file.write(b"x" * 10 * BLOCK)
        file.flush()
        (tmp_path / "hidden").unlink()
        folder = FolderSize(opened(tmp_path))
        assert folder.measure() == 0
        assert folder.measure([os.getpid(), os.getpid()]) >= 10 * BLOCK
    assert folder.measure([os.getpid()]) == 0


def test_a_folder_of_more_entries_than_can_be_counted_is_too_large(tmp_path: Path) -> None:
    folder = FolderSize(opened(tmp_path), max_entries=10)
    for n in range(10):
        (tmp_path / str(n)).touch()
    assert folder.measure() == 10 * ENTRY_BYTES
    (tmp_path / "one more").touch()
    assert folder.measure() == sys.maxsize
