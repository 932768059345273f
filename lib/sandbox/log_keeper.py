"""The log of one attempt: lines cut to size, head and tail kept, in bounded memory.

Chunks of stdout and stderr become lines with a sequence number and a time. The
first half of the budget is written as it comes. What follows is kept as raw
chunks of which the oldest go (a worker may write gigabytes), and becomes lines
when the run ends, after one system line that counts what was dropped. Values
of secrets are masked before anything is written. A disk that is full costs lines,
never the run (`LogFile`).
"""

from __future__ import annotations

import json
from collections import deque
from typing import Final, Literal, NamedTuple

from lib.sandbox.log_file import LogFile
from lib.secrets.mask import NO_MASK, Mask

MAX_LINE_BYTES: Final = 16 * 1024
TAIL_CHUNK_BYTES: Final = 8 * 1024  # what goes at a time when the tail is full
STDERR_TAIL_BYTES: Final = 4 * 1024
_CONTINUATION: Final = bytes(range(0x80, 0xC0))  # bytes that no character begins with in UTF-8

Stream = Literal["stdout", "stderr", "system"]
Level = Literal["debug", "info", "warning", "error"]
Source = Stream | Level  # lines that come with a level of their own have no stream

LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")


class LogKeeper:
    """Writes the lines of `wire.LOG_FILE` to an open file.

    Args:
        file: Descriptor to append to.
        first_seq: Sequence number of the first line.
        budget_bytes: Bytes of text kept in all, half of them from the end.
        mask: Hides values in every line.
    """

    def __init__(
        self, file: int, *, first_seq: int, budget_bytes: int, mask: Mask = NO_MASK
    ) -> None:
        self._file = LogFile(file)
        self._mask = mask
        self._next_seq = first_seq
        self._head_left = budget_bytes // 2
        self._tail_budget = budget_bytes - self._head_left
        sources: tuple[Source, ...] = ("stdout", "stderr", *LEVELS)
        self._splitters = {source: _LineSplitter() for source in sources}
        self._tail: deque[tuple[int, Source, bytes]] = deque()
        self._tail_bytes = 0
        self._stderr_end = b""
        self._dropped_bytes = 0
        self._dropped_lines = 0

    @property
    def dropped_lines(self) -> int:
        """How many lines are not in the log: it was over its limit, or the disk was full."""
        return self._dropped_lines + self._file.lost_lines

    @property
    def last_seq(self) -> int:
        """Sequence number of the last line; without one that before the first."""
        return self._next_seq - 1

    @property
    def stderr_tail(self) -> str:
        """The last few KiB of stderr as text."""
        is_cut = len(self._stderr_end) == STDERR_TAIL_BYTES
        data = self._stderr_end.lstrip(_CONTINUATION) if is_cut else self._stderr_end
        return self._mask.excerpt(data.decode(errors="replace"), start_is_cut=is_cut)

    @property
    def needs_flush(self) -> bool:
        """Whether enough has gathered to be written at once."""
        return self._file.needs_flush

    def feed(self, source: Source, data: bytes, at_ms: int) -> None:
        """Take bytes that the worker wrote, or whole lines that it gave a level."""
        if source == "stderr":
            self._stderr_end = (self._stderr_end + data[-STDERR_TAIL_BYTES:])[-STDERR_TAIL_BYTES:]
        if self._head_left <= 0:
            self._keep_in_tail(source, data, at_ms)
            return
        for line in self._splitters[source].split(data):
            self._emit(source, line, at_ms)
            self._head_left -= len(line.data) + 1

    def note(self, message: str, at_ms: int) -> None:
        """Add a line of our own; it does not count against the budget."""
        self._emit("system", _Line(message.encode()), at_ms)

    def flush(self) -> bool:
        """Write what has gathered, as far as the disk takes it; return whether any was."""
        return self._file.flush()

    def finish(self, at_ms: int) -> None:
        """Write unfinished lines and the tail, or give them up. Nothing may be fed afterwards."""
        chunks, self._tail = list(self._tail), deque()
        if self._dropped_bytes:
            self._skip(chunks)
            self._dropped_lines = max(1, self._dropped_lines)  # at least the middle of one
            self._note_dropped(self._dropped_lines, "the log is over its limit", at_ms)
        for at, source, data in chunks:
            for line in self._splitters[source].split(data):
                self._emit(source, line, at)
        for source, splitter in self._splitters.items():
            if (rest := splitter.rest()).data:
                self._emit(source, rest, at_ms)
        self.flush()
        if self._file.lost_lines:
            self._note_dropped(self._file.lost_lines, "the disk was full", at_ms)
            self.flush()
        self._file.let_go()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note_dropped(self, count: int, why: str, at_ms: int) -> None:
        plural = "" if count == 1 else "s"
        self.note(f"{count} line{plural} dropped: {why}", at_ms)

    def _keep_in_tail(self, source: Source, data: bytes, at_ms: int) -> None:
        for start in range(0, len(data), TAIL_CHUNK_BYTES):
            self._tail.append((at_ms, source, data[start : start + TAIL_CHUNK_BYTES]))
        self._tail_bytes += len(data)
        while self._tail_bytes > self._tail_budget:
            _, _, oldest = self._tail.popleft()
            self._tail_bytes -= len(oldest)
            self._dropped_bytes += len(oldest)
            self._dropped_lines += oldest.count(b"\n")

    def _skip(self, chunks: list[tuple[int, Source, bytes]]) -> None:
        """Leave a gap in the numbers, and out the rest of lines whose start was dropped."""
        for source in self._splitters:
            self._splitters[source] = _LineSplitter()
            for index, (at, name, data) in enumerate(chunks):
                if name == source:
                    _, newline, rest = data.partition(b"\n")
                    self._dropped_lines += len(newline)
                    chunks[index] = (at, name, rest)
                    break
        self._next_seq += max(0, self._dropped_lines - 1)

    def _emit(self, source: Source, line: _Line, at_ms: int) -> None:
        text = line.text(self._mask)
        if source in LEVELS:
            entry = [self._next_seq, at_ms, "stdout", text, source]
        else:
            entry = [self._next_seq, at_ms, source, text]
        self._file.add(json.dumps(entry).encode() + b"\n")
        self._next_seq += 1


class _Line(NamedTuple):
    """A line without its newline; `cut_bytes` of it are not there."""

    data: bytes
    cut_bytes: int = 0

    def text(self, mask: Mask) -> str:
        text = self.data.decode(errors="replace")
        if not self.cut_bytes:
            return mask.text(text)
        kept = mask.excerpt(text.removesuffix("\ufffd"), end_is_cut=True)  # half a character
        return f"{kept} [{self.cut_bytes} bytes cut]"


class _LineSplitter:
    """Cuts a stream of chunks into lines of at most MAX_LINE_BYTES each."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._cut_bytes = 0

    def split(self, data: bytes) -> list[_Line]:
        """Return the lines that `data` completes."""
        *whole, last = data.split(b"\n")
        lines = []
        for part in whole:
            self._extend(part)
            lines.append(self._take())
        self._extend(last)
        return lines

    def rest(self) -> _Line:
        """Return the line that no newline ended, if any."""
        return self._take()

    def _extend(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._partial)
        self._partial += part[:room]
        self._cut_bytes += max(0, len(part) - room)

    def _take(self) -> _Line:
        line = _Line(bytes(self._partial).removesuffix(b"\r"), self._cut_bytes)
        self._partial.clear()
        self._cut_bytes = 0
        return line
