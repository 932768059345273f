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
from lib.sandbox.wire import CONTROL_SOCKET
from lib.sandbox.zygote_process import connect_below
from tests.lib.sandbox.conftest import DEADLINE_SECONDS


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[ServerLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    meta = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    link = ServerLink(ours, meta, select.poll())
    link.take_place()
    link.listen()
    yield link, theirs
    link.close()
    theirs.close()
    os.close(meta)


def outlasting(link: ServerLink) -> threading.Event:
    """Outlast the server on a thread; the event says that this is over."""
    is_over = threading.Event()

    def outlast() -> None:
        link.outlast(DEADLINE_SECONDS)
        is_over.set()

    threading.Thread(target=outlast, daemon=True).start()
    return is_over


def test_a_line_that_was_never_listened_on_can_be_closed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    meta = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with theirs:
        ServerLink(ours, meta, select.poll()).close()
        assert theirs.recv(1) == b""
    os.close(meta)


def test_a_restarted_server_is_refused_until_the_run_begins(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    meta = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    link = ServerLink(ours, meta, select.poll())
    link.take_place()
    with theirs, pytest.raises(ConnectionRefusedError):
        connect_below(tmp_path, CONTROL_SOCKET)
    link.listen()
    connect_below(tmp_path, CONTROL_SOCKET).close()
    link.close()
    os.close(meta)


def test_it_outlasts_a_server_that_goes_on_talking(
    ends: tuple[ServerLink, socket.socket],
) -> None:
    link, server = ends
    server.sendall(b"cancel\n" * 100)
    has_outlasted = outlasting(link)
    assert not has_outlasted.wait(0.2)
    server.close()
    assert has_outlasted.wait(DEADLINE_SECONDS / 2)


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
    assert outlasting(link).wait(DEADLINE_SECONDS / 2)
    link.close()
    assert outlasting(link).wait(DEADLINE_SECONDS / 2)
