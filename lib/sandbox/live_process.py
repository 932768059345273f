"""A live run, seen from the server."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import Final

from lib.sandbox import wire
from lib.sandbox.port import Signal

_SIGNALS: Final = {wire.STARTED: "started", wire.LOG: "log", wire.EXIT: "ended"}


class LiveProcess:
    """A run at the other end of its connection.

    Args:
        connection: To its supervisor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._words: deque[Signal] = deque()
        self._partial = b""

    def wait(self, timeout_seconds: float) -> Signal:
        """Return the next word of the supervisor, or that there was none."""
        if not self._words:
            self._hear(timeout_seconds)
        return self._words.popleft() if self._words else Signal.TIMEOUT

    def cancel(self) -> None:
        """Ask the supervisor to end the tree; no error when it has ended already."""
        self._say(wire.CANCEL)

    def note(self, level: str, message: str) -> None:
        """Have the supervisor add lines to the log."""
        self._say(wire.encode_note(level, message))

    def close(self) -> None:
        """Close the connection; the supervisor does not mind."""
        self._connection.close()

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(word, socket.MSG_NOSIGNAL)

    def _hear(self, timeout_seconds: float) -> None:
        self._connection.settimeout(timeout_seconds)
        try:
            data = self._connection.recv(4096)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self._words.append(Signal.ENDED)
            return
        *words, self._partial = (self._partial + data).split(b"\n")
        self._words.extend(Signal(_SIGNALS[word + b"\n"]) for word in words)
