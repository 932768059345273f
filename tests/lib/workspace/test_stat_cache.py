from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.workspace.stat_cache import RACY_NANOSECONDS, StatCache


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    return path


def scanned(cache: StatCache, file: Path, *, age_ns: int) -> None:
    """Remember a file as a scan would that starts `age_ns` after its last change."""
    cache.begin()
    cache._started_ns = file.stat().st_ctime_ns + age_ns
    cache.put("file", file.stat(), "id")
    cache.end()


def test_a_file_that_did_not_change_is_known(tmp_path: Path, file: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    scanned(cache, file, age_ns=RACY_NANOSECONDS + 1)
    cache.begin()
    assert cache.find("file", file.stat()) == "id"


def test_a_file_changed_close_to_the_scan_is_not_trusted(tmp_path: Path, file: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    scanned(cache, file, age_ns=RACY_NANOSECONDS)
    cache.begin()
    assert cache.find("file", file.stat()) is None


def test_same_size_and_time_set_back_do_not_fool_it(tmp_path: Path, file: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    scanned(cache, file, age_ns=RACY_NANOSECONDS + 1)
    old = file.stat()
    other = tmp_path / "other"
    other.write_bytes(b"y")
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.replace(file)
    assert cache.find("file", file.stat()) is None


def test_it_is_kept_for_the_next_start_and_forgets_what_is_gone(tmp_path: Path, file: Path) -> None:
    cache = StatCache(tmp_path / "cache")
    scanned(cache, file, age_ns=RACY_NANOSECONDS + 1)
    cache.save()
    again = StatCache(tmp_path / "cache")
    assert again.find("file", file.stat()) == "id"
    again.begin()
    again.end()
    assert again.find("file", file.stat()) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 1, "files": {"a": 3}}', b"\xff"]
)
def test_a_damaged_cache_is_empty(tmp_path: Path, file: Path, content: bytes) -> None:
    (tmp_path / "cache").write_bytes(content)
    assert StatCache(tmp_path / "cache").find("a", file.stat()) is None
