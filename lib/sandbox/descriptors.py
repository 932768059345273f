"""Descriptors that a process holds, and those that another passes on."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable
from typing import Final

_ALL: Final = 1 << 20  # more than any limit in use
_SIZE: Final = array.array("i").itemsize


def close_all_but(keep: Iterable[int], *, first: int = 3) -> None:
    """Close every descriptor from `first` on, but for those to keep."""
    low = first
    for kept in sorted(keep):
        os.closerange(low, kept)
        low = max(low, kept + 1)
    os.closerange(low, _ALL)


def receive(channel: socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Read a message of up to `size` bytes and `count` descriptors, which close at exec.

    `socket.recv_fds` of Python 3.11 drops its flags: what it returns would be
    inherited by every program that is started.

    Raises:
        OSError: the other side has gone.
    """
    room = socket.CMSG_LEN(count * _SIZE)  # not CMSG_SPACE, which may have room for one more
    data, messages, _, _ = channel.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, payload in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % _SIZE])
    return data, found.tolist()
