"""Whether the store was ever seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.workspace.bundle_sync.memory import Memory

ADDRESS = "s3://bucket/default/"


def test_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "bundles.json"
    assert not Memory(path, ADDRESS).has_seen
    memory = Memory(path, ADDRESS)
    memory.keep()
    assert memory.has_seen
    assert Memory(path, ADDRESS).has_seen
    assert not Memory(path, "s3://other/default/").has_seen


@pytest.mark.parametrize("cut", [0, 1, 10, 30])
def test_a_note_that_was_torn_never_makes_a_lost_store_a_new_one(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "bundles.json"
    Memory(path, ADDRESS).keep()
    path.write_bytes(path.read_bytes()[:cut])
    assert Memory(path, ADDRESS).has_seen


@pytest.mark.parametrize("data", [b"[]", b"null", b"\xff", b"\0" * 40, b"[" * 60_000], ids=len)
def test_a_note_that_is_none_never_makes_a_lost_store_a_new_one(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "bundles.json"
    path.write_bytes(data)
    assert Memory(path, ADDRESS).has_seen
