"""The words between server and supervisor, whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sandbox.wire import (
    MAX_LAUNCH_BYTES,
    RESERVED_BYTES,
    LaunchRequest,
    ProcessLimits,
    reserve,
    write_whole,
)
from tests.lib.small_disk import SmallDisk

LIMITS = ProcessLimits(
    timeout_seconds=1.5, memory_bytes=1, processes=2, file_bytes=3, log_bytes=4, cpu_seconds=None
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


def request(**environment: str) -> LaunchRequest:
    return LaunchRequest(
        run_id="run_1",
        fence=3,
        folder="/a",
        command=("python", "run.py"),
        environment=environment,
        limits=LIMITS,
        first_seq=7,
        warm=True,
    )


@given(st.dictionaries(st.text(), st.text()))
def test_a_launch_arrives_as_it_was_sent(environment: dict[str, str]) -> None:
    first, second = socket.socketpair()
    with first, second:
        sent = LaunchRequest(
            "run_1", 3, "/ä b", ("python", "a b"), environment, LIMITS, first_seq=7
        )
        threading.Thread(target=first.sendall, args=(sent.encode(),)).start()
        received = LaunchRequest.receive(second)
    assert received.encode() == sent.encode()
    assert (received.command, received.limits) == (sent.command, sent.limits)


def test_a_launch_larger_than_any_buffer_arrives_whole(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sent = request(BIG="x" * 3_000_000)
    thread = threading.Thread(target=ends[0].sendall, args=(sent.encode(),))
    thread.start()
    assert LaunchRequest.receive(ends[1]).environment == sent.environment
    thread.join()


def test_what_follows_a_launch_is_left_in_the_connection(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ends[0].sendall(request().encode() + b"cancel\n")
    LaunchRequest.receive(ends[1])
    assert ends[1].recv(100) == b"cancel\n"


@pytest.mark.parametrize("cut", [0, 2, 4, 20])
def test_a_launch_that_breaks_off_is_none(
    ends: tuple[socket.socket, socket.socket], cut: int
) -> None:
    ends[0].sendall(request().encode()[:cut])
    ends[0].close()
    with pytest.raises(EOFError):
        LaunchRequest.receive(ends[1])


def test_a_length_beyond_all_measure_is_refused(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ends[0].sendall(struct.pack("!I", MAX_LAUNCH_BYTES + 1))
    with pytest.raises(EOFError, match="too long"):
        LaunchRequest.receive(ends[1])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, descriptor
    os.close(descriptor)


def test_a_file_is_written_whole_over_an_older_one(folder: tuple[Path, int]) -> None:
    path, descriptor = folder
    write_whole(descriptor, "exit.json", {"fence": 1})
    write_whole(descriptor, "exit.json", {"fence": 2, "stderr_tail": "é" * 10_000})
    written = path / "exit.json"
    assert json.loads(written.read_text())["fence"] == 2
    assert written.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.iterdir()] == ["exit.json"]


def test_a_link_in_the_way_is_not_written_through(folder: tuple[Path, int]) -> None:
    path, descriptor = folder
    (path / "victim").write_text("kept")
    (path / ".exit.json.tmp").symlink_to("victim")
    with pytest.raises(OSError, match=r"exit\.json"):
        write_whole(descriptor, "exit.json", {})
    assert (path / "victim").read_text() == "kept"
    assert not (path / "exit.json").exists()


def test_a_link_in_the_place_of_the_file_is_replaced(folder: tuple[Path, int]) -> None:
    path, descriptor = folder
    (path / "victim").write_text("kept")
    (path / "exit.json").symlink_to("victim")
    write_whole(descriptor, "exit.json", {"fence": 1})
    assert not (path / "exit.json").is_symlink()
    assert (path / "victim").read_text() == "kept"


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let this process write a file up to a few bytes only, as a disk that is almost full does."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield 100
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_is_not_taken_whole_is_not_there(
    folder: tuple[Path, int], small_files: int
) -> None:
    path, descriptor = folder
    write_whole(descriptor, "exit.json", {"fence": 1})
    with pytest.raises(OSError, match="large"):
        write_whole(descriptor, "exit.json", {"fence": 2, "stderr_tail": "x" * small_files})
    assert json.loads((path / "exit.json").read_text()) == {"fence": 1}
    assert [each.name for each in path.iterdir()] == ["exit.json"]


def test_what_a_dead_writer_left_does_not_follow_a_shorter_file(folder: tuple[Path, int]) -> None:
    path, descriptor = folder
    (path / ".exit.json.tmp").write_text("x" * 1000)
    write_whole(descriptor, "exit.json", {"fence": 1})
    assert json.loads((path / "exit.json").read_text()) == {"fence": 1}


def test_a_full_disk_takes_what_was_reserved(small_disk: SmallDisk) -> None:
    record = {"fence": 1, "stderr_tail": "\ufffd" * 4096}
    reserve(small_disk.descriptor, "exit.json")
    small_disk.fill()
    with pytest.raises(OSError, match="space"):
        write_whole(small_disk.descriptor, "other.json", record, patience_seconds=0)
    write_whole(small_disk.descriptor, "exit.json", record, patience_seconds=0)
    written = small_disk.path / "exit.json"
    assert json.loads(written.read_text()) == record
    assert written.stat().st_size < RESERVED_BYTES
    assert sorted(each.name for each in small_disk.path.iterdir()) == ["exit.json", "filler"]


def test_a_full_disk_is_waited_for(small_disk: SmallDisk) -> None:
    small_disk.fill()
    threading.Timer(0.2, small_disk.clear).start()
    write_whole(small_disk.descriptor, "exit.json", {"fence": 1}, patience_seconds=20)
    assert json.loads((small_disk.path / "exit.json").read_text()) == {"fence": 1}


def test_a_full_disk_reserves_nothing(small_disk: SmallDisk) -> None:
    small_disk.fill()
    with pytest.raises(OSError, match="space"):
        reserve(small_disk.descriptor, "exit.json")
    assert [each.name for each in small_disk.path.iterdir()] == ["filler"]
