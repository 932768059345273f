"""A live run, seen from the server."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from typing import Final

from lib.sandbox import wire
from lib.sandbox.port import Signal

NOTE_SECONDS: Final = 5.0

_SIGNALS: Final = {
    wire.STARTED: Signal.STARTED,
    wire.LOG: Signal.LOG,
    wire.EXIT: Signal.ENDED,
}


class LiveProcess:
    """A run at the other end of its connection.

    Args:
        connection: To its supervisor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # Without a timeout: one that struck in the middle of a word would garble the next.
        connection.settimeout(None)
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._sending = threading.Lock()
        self._noting = threading.Lock()
        self._noted = threading.Event()
        self._is_over = False
        self._words: deque[Signal] = deque()
        self._partial = b""

    def begin(self) -> None:
        """Let the worker run; no error when its supervisor was killed, which `wait` tells."""
        self._say(wire.BEGIN)

    def wait(self, timeout_seconds: float) -> Signal:
        """Return the next word of the supervisor, or that there was none."""
        if not self._words and self._readable.poll(timeout_seconds * 1000):
            self._hear()
        return self._words.popleft() if self._words else Signal.TIMEOUT

    def cancel(self) -> None:
        """Ask the supervisor to end the tree; no error when it has ended already."""
        self._say(wire.CANCEL)

    def note(self, level: str, message: str) -> None:
        """Have the supervisor add lines to the log; returns when they stand there."""
        with self._noting:
            self._noted.clear()
            if not self._is_over:  # else no note will stand any more
                self._say(wire.encode_note(level, message))
                self._noted.wait(NOTE_SECONDS)

    def close(self) -> None:
        """Close the connection; a supervisor that has begun the run goes on with it."""
        self._end()
        self._connection.close()

    def _say(self, word: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(word, socket.MSG_NOSIGNAL)

    def _hear(self) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = self._connection.recv(4096)
        if not data:
            self._end()
            self._words.append(Signal.ENDED)
            return
        *words, self._partial = (self._partial + data).split(b"\n")
        for word in words:
            self._take(word + b"\n")

    def _take(self, word: bytes) -> None:
        if word == wire.NOTED:
            self._noted.set()
        else:
            self._words.append(_SIGNALS[word])
            if word == wire.EXIT:
                self._end()

    def _end(self) -> None:
        """Keep nobody waiting for a note: the run is over, or nobody tells us of it."""
        self._is_over = True
        self._noted.set()
