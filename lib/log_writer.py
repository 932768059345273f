"""The end of the log: lines gathered for a moment, written many at a time.

A line formatted and written by itself costs a busy server half of its
requests. Ordinary records therefore wait for at most WAIT_SECONDS, and one
thread formats and writes them together; warnings and errors do not wait. A
process that is killed outright loses the lines of its last moment; every other
end writes them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final

WAIT_SECONDS: Final = 0.05
MAX_WAITING: Final = 10_000  # some 5 MiB; then whoever logs also writes, and so is slowed down
LINES_PER_WRITE: Final = 200  # under a millisecond in which no other thread runs

Render = Callable[..., str]  # takes the formatter, then what was given with it
Entry = logging.LogRecord | tuple[Render, float, tuple[Any, ...]]


class BatchedHandler(logging.Handler):
    """Writes records to a stream in batches, in the order in which they came.

    What a record names must not change afterwards. A stream that fails costs
    lines, never the caller.

    Args:
        stream: Text; flushed after each batch, never closed.
        wait_seconds: How long an ordinary record may wait.
    """

    def __init__(self, stream: IO[str], *, wait_seconds: float = WAIT_SECONDS) -> None:
        super().__init__()
        self._stream = stream
        self._wait_seconds = wait_seconds
        self._waiting: deque[Entry] = deque()
        # Its own thread may enter again: a task that is collected while a line is made logs, too.
        self._writing = threading.RLock()
        self._has_records = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; a warning or worse is written when this returns."""
        self._add(record)
        if record.levelno >= logging.WARNING:
            self.flush()

    def take(self, render: Render, created: float, values: tuple[Any, ...]) -> None:
        """Take an ordinary event whose line `render` makes when it is written."""
        self._add((render, created, values))

    def _add(self, entry: Entry) -> None:
        self._waiting.append(entry)
        if not self._has_records.is_set():
            self._has_records.set()
        if len(self._waiting) >= MAX_WAITING or self._is_closing.is_set():
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            left = len(self._waiting)
            while size := min(left, LINES_PER_WRITE, len(self._waiting)):
                self._write([self._waiting.popleft() for _ in range(size)])
                left -= size

    def close(self) -> None:
        """Write what waits, and every later record at once; idempotent.

        `logging` calls it when the interpreter ends.
        """
        self._is_closing.set()
        self._has_records.set()
        self._thread.join()
        self.flush()
        super().close()

    def _work(self) -> None:
        while not self._is_closing.is_set():
            self._has_records.wait()
            self._has_records.clear()  # before the look at the records: none is forgotten
            self._is_closing.wait(self._wait_seconds)
            self.flush()

    def _write(self, batch: list[Entry]) -> None:
        text = "".join([self._line(entry) for entry in batch])
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            self._stream.write(text)
            self._stream.flush()

    def _line(self, entry: Entry) -> str:
        try:
            if isinstance(entry, logging.LogRecord):
                return self.format(entry) + "\n"
            render, created, values = entry
            return render(self.formatter, created, values) + "\n"
        except Exception as ex:  # noqa: BLE001  one bad entry must not cost the others
            return f"a line of the log could not be made: {type(ex).__name__}\n"
