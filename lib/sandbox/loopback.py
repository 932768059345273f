"""The only network that a worker has: its own loopback, and who listens there."""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Final

from lib.sandbox import descriptors

ADDRESS: Final = "127.0.0.1"
BACKLOG: Final = 1024

_SIOCSIFFLAGS: Final = 0x8914  # linux/sockios.h
_IFF_UP: Final = 0x1
_REQUEST: Final = struct.Struct("16sH14x")  # struct ifreq


def bring_up() -> None:
    """Switch on `lo` in a new network namespace, where it is off.

    Raises:
        OSError: no CAP_NET_ADMIN in the owner of the network namespace.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", _IFF_UP))


@dataclass(frozen=True, slots=True)
class WantedListeners:
    """Listeners that are wanted from inside a network namespace.

    Attributes:
        ports: TCP ports, in the order in which the sockets arrive.
        channel: Descriptor of one end of a pair of Unix sockets; the other end's
            holder calls `receive_listeners`.
    """

    ports: tuple[int, ...]
    channel: int


def hand_over_listeners(wanted: WantedListeners) -> None:
    """Listen on each port and pass the sockets to whoever is to accept.

    A socket stays in the network namespace that it was made in, whoever holds
    it: so the supervisor, outside, serves the worker, inside.
    """
    listeners = [listen(port) for port in wanted.ports]
    try:
        with socket.socket(fileno=_duplicate(wanted.channel)) as channel:
            socket.send_fds(channel, [b"\0"], [each.fileno() for each in listeners])
    finally:
        for each in listeners:
            each.close()


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the loopback of this network namespace."""
    return socket.create_server((ADDRESS, port), backlog=BACKLOG)


def receive_listeners(channel: socket.socket, count: int) -> list[socket.socket]:
    """Return what `hand_over_listeners` sent; blocks until it has.

    Raises:
        EOFError: the other side closed without sending them.
    """
    data, passed = descriptors.receive(channel, 1, count)
    if not data or len(passed) != count:
        raise EOFError("the run's network namespace was not made")
    return [socket.socket(fileno=descriptor) for descriptor in passed]


def _duplicate(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
