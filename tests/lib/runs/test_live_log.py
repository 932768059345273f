"""Logs on their way into the store: whole lines, each once, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.runs.live_log import BATCH_BYTES, LiveLog
from lib.sandbox.wire import LOG_FILE
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.memory import MemoryLogStore
from lib.storage.records import LogLine


class Source:
    """A log file that grows."""

    def __init__(self, meta: Path) -> None:
        self.path = meta / LOG_FILE
        self.store = MemoryLogStore()
        self.log = LiveLog(meta, run_id="run_1", store=self.store, mask=NO_MASK)

    def add(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def lines(self) -> list[LogLine]:
        return self.store.tail("run_1", limit=10_000)


def line(seq: int, message: str = "x", stream: str = "stdout") -> bytes:
    return json.dumps([seq, 1_000 + seq, stream, message]).encode() + b"\n"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_there_may_be_no_file_yet(source: Source) -> None:
    assert not source.log.carry()
    assert source.lines() == []


def test_each_line_is_carried_once(source: Source) -> None:
    source.add(line(1) + line(2))
    assert source.log.carry()
    assert not source.log.carry()
    source.add(line(3))
    assert source.log.carry()
    assert [each.seq for each in source.lines()] == [1, 2, 3]


def test_half_a_line_waits_for_its_other_half(source: Source) -> None:
    data = line(1, "é")
    source.add(data[:-3])
    assert not source.log.carry()
    source.add(data[-3:])
    assert source.log.carry()
    assert source.lines()[0].message == "é"


@pytest.mark.parametrize(
    ("stream", "level"), [("stdout", "info"), ("stderr", "warning"), ("system", "info")]
)
def test_the_stream_gives_the_level(source: Source, stream: str, level: str) -> None:
    source.add(line(7, "words", stream))
    source.log.carry()
    (each,) = source.lines()
    assert (each.seq, each.stream, each.level, each.message) == (7, stream, level, "words")
    assert each.at.timestamp() == 1.007


def test_a_log_of_many_batches_arrives_whole(source: Source) -> None:
    message = "y" * 16_000
    count = 3 * BATCH_BYTES // 16_000
    source.add(b"".join(line(seq, message) for seq in range(1, count + 1)))
    source.log.carry()
    assert [each.seq for each in source.lines()] == list(range(1, count + 1))


def test_a_new_reader_repeats_nothing_in_the_store(source: Source, tmp_path: Path) -> None:
    source.add(line(1) + line(2))
    source.log.carry()
    LiveLog(tmp_path, run_id="run_1", store=source.store, mask=NO_MASK).carry()
    assert [each.seq for each in source.lines()] == [1, 2]


def test_values_of_secrets_never_reach_the_store(source: Source, tmp_path: Path) -> None:
    source.add(line(1, "the key is hunter22"))
    mask = Mask(["hunter22"])
    LiveLog(tmp_path, run_id="run_1", store=source.store, mask=mask).carry()
    assert source.lines()[0].message == "the key is ***"


def test_a_few_last_lines_are_left_to_who_records_the_end(source: Source) -> None:
    source.add(line(1))
    source.log.carry()
    source.add(line(2) + line(3) + b"[half")
    for _ in range(2):  # who failed to record them gets them again
        assert [each.seq for each in source.log.carry_but_the_rest()] == [2, 3]
    assert [each.seq for each in source.lines()] == [1]


def test_many_last_lines_are_carried(source: Source) -> None:
    message = "y" * 16_000
    count = 2 * BATCH_BYTES // 16_000
    source.add(b"".join(line(seq, message) for seq in range(1, count + 1)))
    left = source.log.carry_but_the_rest()
    assert len(left) < 2
    assert [each.seq for each in (*source.lines(), *left)] == list(range(1, count + 1))


def test_without_a_file_no_lines_are_left(source: Source) -> None:
    assert source.log.carry_but_the_rest() == ()


@given(st.lists(st.text(), min_size=1), st.data())
def test_any_text_cut_anywhere_arrives_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str], data: st.DataObject
) -> None:
    source = Source(tmp_path_factory.mktemp("meta"))
    whole = b"".join(line(seq, message) for seq, message in enumerate(messages, start=1))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        source.add(whole[begin:end])
        source.log.carry()
    assert [each.message for each in source.lines()] == messages
