"""Taking over a folder that a stranger filled."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lib.environments import tree
from lib.environments.recipe import InstallError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "packages"
    (root / "deep").mkdir(parents=True)
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_becomes_read_only_and_loses_its_special_bits(root: Path) -> None:
    (root / "deep" / "file").write_text("x" * 5000)
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o4755)
    (root / "deep").chmod(0o2777)
    assert tree.seal(root) >= 5000
    assert [mode(root / each) for each in ("", "deep", "deep/file", "tool")] == [
        0o555, 0o555, 0o444, 0o555,
    ]  # fmt: skip


def test_programs_are_executable_whatever_mode_the_installer_left(root: Path) -> None:
    (root / "bin").mkdir()
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    modules = root / "node_modules"
    (modules / ".bin").mkdir(parents=True)
    (modules / "odd").mkdir()
    (modules / "odd" / "cli.js").write_text("#!/usr/bin/env node\n")
    (modules / "odd" / "index.js").write_text("")
    (modules / ".bin" / "odd").symlink_to("../odd/cli.js")
    (modules / ".bin" / "gone").symlink_to("../odd/gone.js")
    (modules / ".bin" / "folder").symlink_to("../odd")
    tree.seal(root)
    assert mode(root / "bin" / "tool") == 0o555
    assert mode(modules / "odd" / "cli.js") == 0o555
    assert mode(modules / "odd" / "index.js") == 0o444
    assert mode(modules / "odd") == 0o555


def test_links_that_stay_inside_are_kept(root: Path) -> None:
    (root / "deep" / "file").write_text("x")
    (root / "one").symlink_to("deep/file")
    (root / "deep" / "two").symlink_to("../one")
    tree.seal(root)
    assert (root / "deep" / "two").read_text() == "x"


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "deep/../../outside", "../packages2/x"]
)
def test_a_link_that_leaves_is_refused(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(InstallError, match="link"):
        tree.seal(root)


def test_a_link_that_leaves_by_way_of_another_is_refused_and_nothing_outside_changes(
    root: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("x")
    victim.chmod(0o600)
    (root / "a" / "b").mkdir(parents=True)
    (root / ".bin").mkdir()
    (root / "a" / "b" / "up").symlink_to("../..")  # the root itself
    (root / ".bin" / "out").symlink_to("../a/b/up/../victim")  # looks like a/b/victim
    assert (root / ".bin" / "out").resolve() == victim
    with pytest.raises(InstallError, match="link"):
        tree.seal(root)
    assert mode(victim) == 0o600


def test_a_loop_of_links_hurts_nobody(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    tree.seal(root)


def test_a_pipe_is_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(InstallError, match="no file"):
        tree.seal(root)


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(InstallError):
        tree.seal(tmp_path / "link")
    assert mode(victim) == 0o700


def test_a_tree_deeper_than_python_walks_is_refused_and_can_be_removed(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", 0o755, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises((InstallError, OSError)):
        tree.seal(root)
    tree.remove(root)
    assert not root.exists()


def test_a_sealed_tree_can_be_removed_and_links_in_it_are_not_followed(
    root: Path, tmp_path: Path
) -> None:
    (root / "deep" / "file").write_text("x")
    tree.seal(root)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    root.chmod(0o755)
    (root / "link").symlink_to(kept)
    tree.remove(root)
    tree.remove(root)
    assert not root.exists()
    assert (kept / "file").exists()
    (tmp_path / "alias").symlink_to(kept)
    tree.remove(tmp_path / "alias")
    assert (kept / "file").exists()
