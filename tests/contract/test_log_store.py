"""LogStore."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.storage.ports import LogStore
from lib.storage.records import LogLevel, LogLine, LogStream
from tests.contract.samples import START, Samples
from tests.contract.stores import open_stores
from tests.contract.threads import together

RUN = "run_1"
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


def line(seq: int, level: LogLevel = "info", message: str = "") -> LogLine:
    return LogLine(seq, START, level, "stdout", message or f"line {seq}")


class TestLogStore:
    def test_lines_are_read_back_whole(self, logs: LogStore) -> None:
        lines = [
            LogLine(number, START, level, stream, "ünï \x00 \u2028 " * number)
            for number, (level, stream) in enumerate(
                ((level, stream) for level in LEVELS for stream in get_args(LogStream)), start=1
            )
        ]
        logs.append(RUN, lines)

        assert logs.list(RUN, limit=99) == lines
        assert logs.tail(RUN, limit=99) == lines

    def test_a_run_without_lines(self, logs: LogStore) -> None:
        assert logs.list(RUN, limit=9) == []
        assert logs.tail(RUN, limit=9) == []
        assert logs.last_seq(RUN) == 0

    def test_runs_do_not_mix(self, logs: LogStore) -> None:
        logs.append(RUN, [line(1)])
        logs.append("run_2", [line(1), line(2)])

        assert logs.list(RUN, limit=9) == [line(1)]
        assert logs.last_seq("run_2") == 2

    def test_the_same_lines_again_change_nothing(self, logs: LogStore) -> None:
        logs.append(RUN, [line(1), line(2)])
        logs.append(RUN, [line(1, message="other"), line(2, message="other")])
        logs.append(RUN, [line(2, message="other"), line(3)])
        logs.append(RUN, [])

        assert logs.list(RUN, limit=9) == [line(1), line(2), line(3)]
        assert logs.last_seq(RUN) == 3

    def test_numbers_may_have_gaps(self, logs: LogStore) -> None:
        logs.append(RUN, [line(1), line(5)])
        logs.append(RUN, [line(9)])

        assert [found.seq for found in logs.list(RUN, after=1, limit=9)] == [5, 9]
        assert logs.list(RUN, after=3, limit=1) == [line(5)]
        assert logs.tail(RUN, limit=2) == [line(5), line(9)]

    @pytest.mark.parametrize("level", LEVELS)
    def test_a_level_means_this_and_above(self, logs: LogStore, level: LogLevel) -> None:
        lines = [line(number + 1, LEVELS[number % 4]) for number in range(12)]
        for start in range(0, 12, 3):
            logs.append(RUN, lines[start : start + 3])

        wanted = [found for found in lines if LEVELS.index(found.level) >= LEVELS.index(level)]

        assert logs.list(RUN, limit=99, level=level) == wanted
        assert (
            logs.list(RUN, limit=2, after=3, level=level)
            == [found for found in wanted if found.seq > 3][:2]
        )

    def test_a_limit_of_none_is_no_line(self, logs: LogStore) -> None:
        logs.append(RUN, [line(1)])

        assert logs.list(RUN, limit=0) == []
        assert logs.tail(RUN, limit=0) == []

    def test_deleted_runs_have_no_lines(self, logs: LogStore) -> None:
        for run_id in ("run_1", "run_2", "run_3"):
            logs.append(run_id, [line(1)])

        logs.delete(["run_1", "run_3", "run_unknown"])
        logs.delete([])

        assert [logs.last_seq(f"run_{number}") for number in (1, 2, 3)] == [0, 1, 0]

    def test_many_that_append_the_same_lines_add_them_once(self, logs: LogStore) -> None:
        lines = [line(seq) for seq in range(1, 40)]

        together(lambda number: logs.append(RUN, lines[: 8 + number]))

        assert logs.list(RUN, limit=99) == lines

    def test_a_large_chunk_is_read_in_parts(self, logs: LogStore) -> None:
        lines = [replace(line(seq), message="x" * 300) for seq in range(1, 501)]
        logs.append(RUN, lines)

        assert logs.list(RUN, after=250, limit=10) == lines[250:260]
        assert logs.tail(RUN, limit=3) == lines[-3:]


@settings(max_examples=25, deadline=None)
@given(
    levels=st.lists(st.sampled_from(LEVELS), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    after=st.integers(0, 60),
    limit=st.integers(0, 60),
    level=st.none() | st.sampled_from(LEVELS),
)
def test_how_lines_were_appended_does_not_show(
    backend: str,
    levels: list[LogLevel],
    cuts: list[int],
    after: int,
    limit: int,
    level: LogLevel | None,
) -> None:
    lines = [line(seq, each) for seq, each in enumerate(levels, start=1)]
    with open_stores(backend, Samples().clock) as stores:
        bounds = [0, *sorted(cuts), len(lines)]
        for start, end in pairwise(bounds):
            stores.logs.append(RUN, lines[max(0, start - 2) : end])
        listed = stores.logs.list(RUN, after=after, limit=limit, level=level)
        tail = stores.logs.tail(RUN, limit=limit)

    least = LEVELS.index(level or "debug")
    wanted = [it for it in lines if it.seq > after and LEVELS.index(it.level) >= least]
    assert listed == wanted[:limit]
    assert tail == lines[max(0, len(lines) - limit) :]
