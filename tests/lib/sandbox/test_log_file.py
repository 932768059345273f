"""The log's file: what the disk does not take waits, to a bound, and garbles nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from lib.sandbox.log_file import MAX_PENDING_BYTES, LogFile

PIPE_BYTES = 4096


class FullPipe:
    """Takes a page, then nothing until it is read: a disk that is full, and has room again."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def read(self) -> bytes:
        """Return what it took, and make room."""
        try:
            return os.read(self._reader, PIPE_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[FullPipe]:
    pipe = FullPipe()
    yield pipe
    pipe.close()


def taken_at_last(file: LogFile, pipe: FullPipe) -> bytes:
    """Flush into a disk that gets room again and again until there is nothing more."""
    taken = bytearray()
    while part := pipe.read():
        taken += part
        file.flush()
    return bytes(taken)


def test_half_a_line_is_gone_on_with_where_it_stopped(pipe: FullPipe) -> None:
    lines = [b"%07d\n" % number * 3 for number in range(3000)]
    file = LogFile(pipe.writer)
    for line in lines:
        file.add(line)
        file.flush()
    assert taken_at_last(file, pipe) == b"".join(lines)
    assert file.lost_lines == 0


def test_lines_beyond_the_bound_are_counted(pipe: FullPipe) -> None:
    line = b"x" * 1023 + b"\n"
    count = 3 * MAX_PENDING_BYTES // len(line)
    file = LogFile(pipe.writer)
    for _ in range(count):
        file.add(line)
    taken = taken_at_last(file, pipe)
    assert len(taken) <= MAX_PENDING_BYTES + PIPE_BYTES + len(line)
    assert set(taken.split(b"\n")) == {line.strip(), b""}
    assert taken.count(b"\n") + file.lost_lines == count


def test_while_nothing_is_taken_nobody_is_asked_to_flush(pipe: FullPipe) -> None:
    file = LogFile(pipe.writer)
    file.add(bytes(PIPE_BYTES * 100))
    asked = [file.needs_flush]
    file.flush()
    asked.append(file.needs_flush)
    assert asked == [True, False]
    assert not file.flush()
    pipe.read()
    assert file.flush()


def test_what_is_let_go_is_lost(pipe: FullPipe) -> None:
    file = LogFile(pipe.writer)
    for _ in range(3):
        file.add(b"x" * (PIPE_BYTES - 1) + b"\n")
    file.flush()
    file.let_go()
    assert file.lost_lines == 2
    pipe.read()
    assert not file.flush()
