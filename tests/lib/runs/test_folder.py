"""Working directories: nothing outside is ever read or written."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.runs.folder import MAX_DEPTH, MissingFile, UnsafePath, WorkFolder, parts_of


@pytest.fixture
def work(tmp_path: Path) -> Iterator[WorkFolder]:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").write_text("secret")
    with WorkFolder(tmp_path / "work") as folder:
        yield folder


def read(work: WorkFolder, path: str) -> bytes:
    with work.open_file(path) as file:
        return file.read()


def test_what_is_written_is_read(work: WorkFolder) -> None:
    work.write("a/b/c.txt", b"x", mode=0o755)
    assert read(work, "a/./b/c.txt") == b"x"
    assert list(work.files("a")) == [("a/b/c.txt", 1)]


def test_nothing_there_is_missing(work: WorkFolder) -> None:
    with pytest.raises(MissingFile):
        work.open_file("a/b")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "", "a//b", "a\0b"])
def test_paths_that_leave_are_refused(work: WorkFolder, path: str) -> None:
    with pytest.raises(UnsafePath):
        work.open_file(path)
    with pytest.raises(UnsafePath):
        work.write(path, b"")


def test_links_are_not_followed(work: WorkFolder, tmp_path: Path) -> None:
    (tmp_path / "work" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "work" / "folder").symlink_to(tmp_path)
    for path in ("file", "folder/secret"):
        with pytest.raises(UnsafePath):
            work.open_file(path)
    with pytest.raises(UnsafePath):
        work.write("folder/new", b"")
    assert list(work.files("folder")) == []


def test_a_file_in_place_of_a_link_replaces_the_link_only(work: WorkFolder, tmp_path: Path) -> None:
    (tmp_path / "work" / "input.csv").symlink_to(tmp_path / "secret")
    work.copy_from("input.csv", io.BytesIO(b"new"))
    assert read(work, "input.csv") == b"new"
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x"])
def test_links_of_a_bundle_stay_inside(work: WorkFolder, target: str) -> None:
    with pytest.raises(UnsafePath):
        work.link("a", target)
    work.link("b/link", "../c")


def test_special_files_are_refused_at_once(work: WorkFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "work" / "fifo")
    with pytest.raises(UnsafePath):
        work.open_file("fifo")
    assert list(work.files(".")) == []


def test_deep_folders_end_in_an_error_not_in_a_crash(work: WorkFolder, tmp_path: Path) -> None:
    (tmp_path / "work" / "out" / "/".join(["d"] * (MAX_DEPTH + 5))).mkdir(parents=True)
    with pytest.raises(UnsafePath, match="nested"):
        list(work.files("out"))


@given(st.text(alphabet="ab./\0", max_size=12))
def test_no_path_has_parts_that_climb(path: str) -> None:
    try:
        parts = parts_of(path)
    except UnsafePath:
        return
    assert parts
    assert not {"", ".", ".."} & set(parts)
