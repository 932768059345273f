"""What is known of a remote: kept, and forgotten where it is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.remote.memory import Known, Memory, parse

URL = "https://example.org/ws.git"
KNOWN = Known(URL, seen="a" * 40, synced="b" * 40, pushed_at=1_767_225_600_000)


def test_it_is_there_after_a_restart_and_only_for_the_same_remote(tmp_path: Path) -> None:
    path = tmp_path / "remote.json"
    memory = Memory(path, URL)
    assert memory.known == Known(URL)
    memory.keep(KNOWN)
    assert Memory(path, URL).known == KNOWN
    assert Memory(path, URL + "x").known == Known(URL + "x")
    assert [each.name for each in tmp_path.iterdir()] == ["remote.json"]


def test_a_disk_that_cannot_be_written_costs_nothing_now(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "gone/remote.json", URL)
    memory.keep(KNOWN)
    assert memory.known == KNOWN


@pytest.mark.parametrize("field", ["seen", "synced", "pushed_at"])
@pytest.mark.parametrize(
    "value", ['"x"', "-1", "[]", "{}", "1.5", '"--all"', "1e99", "true", "NaN"]
)
def test_a_damaged_file_is_forgotten(field: str, value: str) -> None:
    fields = {
        "url": f'"{URL}"',
        "seen": "null",
        "synced": "null",
        "pushed_at": "null",
        field: value,
    }
    text = ", ".join(f'"{name}": {each}' for name, each in fields.items())
    assert parse(f"{{{text}}}".encode(), URL) == Known(URL)


@given(st.binary(max_size=80))
def test_any_bytes_will_do(data: bytes) -> None:
    assert parse(data, URL) == Known(URL)
