"""A supervisor's line to its server."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.sandbox.server_link import ServerLink
from tests.lib.sandbox.conftest import DEADLINE_SECONDS


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[ServerLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    meta = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    link = ServerLink(ours, meta, select.poll())
    link.listen()
    yield link, theirs
    link.close()
    theirs.close()
    os.close(meta)


def test_it_outlasts_a_server_that_goes_on_talking(
    ends: tuple[ServerLink, socket.socket],
) -> None:
    link, server = ends
    thread = threading.Thread(target=link.outlast, args=(DEADLINE_SECONDS,))
    thread.start()
    server.sendall(b"cancel\n" * 100)
    assert thread.is_alive()
    server.close()
    thread.join(DEADLINE_SECONDS / 2)
    assert not thread.is_alive()


def test_it_waits_no_longer_than_it_is_told(ends: tuple[ServerLink, socket.socket]) -> None:
    link, server = ends
    link.outlast(0.01)
    link.tell(b"exit\n")
    assert server.recv(5) == b"exit\n"


def test_there_is_nothing_to_outlast_once_the_server_has_gone(
    ends: tuple[ServerLink, socket.socket],
) -> None:
    link, server = ends
    server.close()
    link.outlast(DEADLINE_SECONDS)
    link.close()
    link.outlast(DEADLINE_SECONDS)
