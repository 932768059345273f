"""Logs: whatever arrives in whatever pieces, lines come out whole, in order and bounded."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sandbox.log_keeper import MAX_LINE_BYTES, STDERR_TAIL_BYTES, LogKeeper
from lib.secrets.mask import Mask
from tests.lib.small_disk import SmallDisk

LINES = st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=30)


def keep(chunks: list[bytes], folder: Path, budget: int = 1 << 20) -> list[list[object]]:
    path = folder / "log"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        keeper = LogKeeper(file, first_seq=5, budget_bytes=budget)
        for number, chunk in enumerate(chunks):
            keeper.feed("stdout", chunk, number)
        keeper.finish(len(chunks))
        written = [json.loads(line) for line in path.read_text().splitlines()]
        assert keeper.last_seq == (written[-1][0] if written else 4)
        return written
    finally:
        os.close(file)


@given(lines=LINES, cuts=st.lists(st.integers(0, 2000), max_size=10))
def test_lines_do_not_depend_on_how_they_arrive(
    tmp_path_factory: object, lines: list[str], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    data = "".join(f"{line}\n" for line in lines).encode()
    ends = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    chunks = [data[a:b] for a, b in itertools.pairwise(ends)]
    written = keep(chunks, folder)
    assert [entry[3] for entry in written] == lines
    assert [entry[0] for entry in written] == list(range(5, 5 + len(lines)))


def test_a_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    assert [entry[3] for entry in keep([b"a\nb"], tmp_path)] == ["a", "b"]


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert keep([b"\xff\xfe\n"], tmp_path)[0][3] == "��"


def test_memory_stays_bounded_without_any_newline(tmp_path: Path) -> None:
    written = keep([b"x" * 10_000] * 500, tmp_path, budget=64 * 1024)
    assert len(written) == 1
    assert len(str(written[0][3])) < MAX_LINE_BYTES + 100


def test_one_chunk_larger_than_the_tail_leaves_its_end(tmp_path: Path) -> None:
    data = b"".join(b"%06d\n" % n for n in range(50_000))
    written = keep([b"head\n" * 9_000, data], tmp_path, budget=64 * 1024)
    assert written[-1][3] == "049999"
    assert written[-1][0] == 5 + 9_000 + 50_000 - 1


def test_dropped_lines_leave_a_gap_of_their_size(tmp_path: Path) -> None:
    chunks = [b"".join(b"%05d\n" % n for n in range(a, a + 100)) for a in range(0, 10_000, 100)]
    written = keep(chunks, tmp_path, budget=6_000)
    notes = [entry for entry in written if entry[2] == "system"]
    assert len(notes) == 1
    dropped = int(str(notes[0][3]).split()[0])
    assert len(written) - 1 + dropped == 10_000
    assert written[-1][0] == 5 + 10_000 - 1
    assert written[-1][3] == "09999"


KEY = "tok-4f9a1c88"


def keep_masked(data: bytes, folder: Path, *, piece: int, budget: int = 1 << 20) -> LogKeeper:
    file = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        keeper = LogKeeper(file, first_seq=1, budget_bytes=budget, mask=Mask([KEY]))
        for at in range(0, len(data), piece):
            keeper.feed("stderr", data[at : at + piece], at)
        keeper.finish(0)
        return keeper
    finally:
        os.close(file)


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("budget", [1 << 20, 200])
def test_values_are_never_written_however_they_arrive(
    tmp_path: Path, piece: int, budget: int
) -> None:
    """In the head, in the tail and in the last words for the error."""
    data = b"".join(f"line {number} {KEY}\n".encode() for number in range(50)) + KEY.encode()
    keeper = keep_masked(data, tmp_path, piece=piece, budget=budget)
    written = (tmp_path / "log").read_text()
    assert KEY not in written
    assert "line 0 ***" in written
    assert KEY not in keeper.stderr_tail
    assert keeper.stderr_tail.endswith("line 49 ***\n***")


@pytest.mark.parametrize("shown", range(-2, len(KEY) + 2))
def test_no_piece_of_a_value_is_left_where_a_line_is_cut(tmp_path: Path, shown: int) -> None:
    """`shown` characters of it lie before the cut; fewer than three say nothing."""
    data = b"x" * (MAX_LINE_BYTES - shown) + KEY.encode() + b"x" * 99 + b"\n"
    keep_masked(data, tmp_path, piece=4096)
    message = json.loads((tmp_path / "log").read_text())[3]
    assert KEY[:3] not in message
    assert message.endswith("bytes cut]")


@pytest.mark.parametrize("shown", range(-2, len(KEY) + 2))
@pytest.mark.parametrize("before", ["x", "\N{KEY}"])
def test_no_piece_of_a_value_begins_the_last_words(tmp_path: Path, shown: int, before: str) -> None:
    data = before * 5000 + KEY + "y" * (STDERR_TAIL_BYTES - shown)
    keeper = keep_masked(data.encode(), tmp_path, piece=4096)
    assert KEY[-3:] not in keeper.stderr_tail
    assert "yyyy" in keeper.stderr_tail


def lines_of(path: Path) -> list[str]:
    """Return the messages of the whole lines in a log file."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line)[3] for line in whole.splitlines()]


def test_a_disk_that_is_full_for_a_while_costs_no_line(small_disk: SmallDisk) -> None:
    small_disk.fill(spare_bytes=4096)
    path = small_disk.path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        keeper = LogKeeper(file, first_seq=1, budget_bytes=1 << 20)
        lines = [f"line {number}" for number in range(1000)]
        for line in lines:
            keeper.feed("stdout", f"{line}\n".encode(), 0)
            keeper.flush()
        assert path.stat().st_size == 4096
        small_disk.clear()
        keeper.finish(0)
    finally:
        os.close(file)
    assert lines_of(path) == lines
    assert keeper.dropped_lines == 0


def test_a_disk_that_stays_full_costs_lines_and_nothing_else(small_disk: SmallDisk) -> None:
    small_disk.fill(spare_bytes=4096)
    path = small_disk.path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        keeper = LogKeeper(file, first_seq=1, budget_bytes=1 << 20)
        for number in range(1000):
            keeper.feed("stderr", b"line %03d\n" % number, 0)
        keeper.finish(0)
    finally:
        os.close(file)
    written = lines_of(path)
    assert written == [f"line {number:03}" for number in range(len(written))]
    assert 0 < keeper.dropped_lines == 1000 - len(written)
    assert keeper.last_seq == 1000
    assert keeper.stderr_tail.endswith("line 999\n")
