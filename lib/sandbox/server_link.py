"""A supervisor's line to the server that started its run, and to the next one."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from lib.sandbox import wire

MAX_WORD_BYTES: Final = 256 * 1024  # a note of 16 KiB, escaped in JSON, is at most six times that
READ_BYTES: Final = 64 * 1024


class ServerLink:
    """The connection to the server: the first one's, and after it any later one's.

    Args:
        connection: Of the server that started the run.
        meta: Descriptor of the `meta` folder.
        poll: Where to register what may become readable.
    """

    def __init__(self, connection: socket.socket, meta: int, poll: select.poll) -> None:
        self._connection: socket.socket | None = connection
        self._meta = meta
        self._poll = poll
        self._partial = b""
        self._listener = socket.socket(socket.AF_UNIX)

    def take_place(self) -> None:
        """Be where a restarted server looks for this run, but refuse it until `listen`."""
        with contextlib.suppress(FileNotFoundError):  # of who had the launch before, and was killed
            os.unlink(wire.CONTROL_SOCKET, dir_fd=self._meta)
        # By way of the descriptor: a socket's path holds 107 bytes only, unix(7).
        self._listener.bind(f"/proc/self/fd/{self._meta}/{wire.CONTROL_SOCKET}")

    def listen(self) -> None:
        """Let a restarted server find this run; from here on `hear` is to be called."""
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.POLLIN)
        if self._connection is not None:
            self._poll.register(self._connection, select.POLLIN)

    def await_begin(self) -> None:
        """Return at the word to begin, the server's first.

        Raises:
            EOFError: the server hangs up instead: the run is not to be.
        """
        if self._connection is not None:
            wire.receive_begin(self._connection)

    @property
    def is_there(self) -> bool:
        """Whether the server is still at the other end."""
        return self._connection is not None and not has_hung_up(self._connection)

    def hear(self, ready: AbstractSet[int]) -> Iterator[bytes]:
        """Yield the words that came, without their newlines."""
        if self._listener.fileno() in ready:
            self._admit()
        elif self._connection is not None and self._connection.fileno() in ready:
            *words, self._partial = (self._partial + self._receive(self._connection)).split(b"\n")
            yield from words
            if len(self._partial) > MAX_WORD_BYTES:
                self._drop()

    def tell(self, word: bytes) -> None:
        """Say something, but never wait for a server that does not listen."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(word, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def outlast(self, seconds: float) -> None:
        """Wait until the server hangs up, at most so long; what it says is not heard any more."""
        if self._connection is not None:
            has_hung_up(self._connection, seconds)

    def close(self) -> None:
        """Hang up, and be found no more."""
        self._drop()
        self._listener.close()

    def _admit(self) -> None:
        """Take the newest server's word for it: there is only one on a data folder."""
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            self._drop()
            self._connection = connection
            self._poll.register(connection, select.POLLIN)
            self.tell(wire.STARTED + wire.LOG)

    def _receive(self, connection: socket.socket) -> bytes:
        data = b""
        with contextlib.suppress(OSError):
            data = connection.recv(READ_BYTES)
        if not data:
            self._drop()  # the server is gone; the run goes on
        return data

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(KeyError):  # there was no `listen`
                self._poll.unregister(self._connection)
            self._connection.close()
            self._connection = None
        self._partial = b""


def has_hung_up(connection: socket.socket, within_seconds: float = 0.0) -> bool:
    """Whether nobody is at the other end any more; waits so long for that."""
    poll = select.poll()
    poll.register(connection, 0)  # a hang-up is told in any case
    return bool(poll.poll(within_seconds * 1000))
