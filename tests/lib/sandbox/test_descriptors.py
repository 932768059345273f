"""What a process holds, and what another passes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from lib.sandbox import descriptors
from tests.lib.sandbox.isolated import output_of


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_what_is_passed_on_arrives_and_is_no_program_s(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    read_end, write_end = os.pipe()
    socket.send_fds(ours, [b"two"], [read_end, write_end])
    data, passed = descriptors.receive(theirs, 10, 2)
    try:
        assert data == b"two"
        assert len(passed) == 2
        assert not any(map(os.get_inheritable, passed))
        os.write(passed[1], b"x")
        assert os.read(read_end, 1) == b"x"
    finally:
        for each in (read_end, write_end, *passed):
            os.close(each)


def test_more_than_there_is_room_for_is_not_kept(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    socket.send_fds(ours, [b"x"], [0, 1, 2])
    _, passed = descriptors.receive(theirs, 1, 2)
    for each in passed:
        os.close(each)
    assert len(passed) == 2


def test_an_end_is_no_message(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    assert descriptors.receive(theirs, 10, 1) == (b"", [])


def test_all_but_those_to_keep_are_closed() -> None:
    script = """
import os
from lib.sandbox import descriptors
for number in (10, 11, 12, 500):
    os.dup2(1, number)
descriptors.close_all_but([11])
print([n for n in range(3, 600) if os.path.exists(f"/proc/self/fd/{n}")])
"""
    assert output_of(script) == "[11]"
