"""Carries an attempt's log from the supervisor's file into the log store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from lib.clock import from_milliseconds
from lib.sandbox.wire import LOG_FILE
from lib.secrets.mask import Mask
from lib.storage.ports import LogStore
from lib.storage.records import LogLevel, LogLine, LogStream

BATCH_BYTES: Final = 1024 * 1024
REST_BYTES: Final = 16 * 1024  # what may go with a record of something else
_LEVELS: Final[dict[LogStream, LogLevel]] = {
    "stdout": "info",
    "stderr": "warning",
    "system": "info",
}


class LiveLog:
    """Reads what was added to a log file and appends it to the store.

    Args:
        meta: The attempt's `meta` folder.
        mask: Hides values in every line, whatever sandbox wrote it.
    """

    def __init__(self, meta: Path, *, run_id: str, store: LogStore, mask: Mask) -> None:
        self._path = meta / LOG_FILE
        self._run_id = run_id
        self._store = store
        self._mask = mask
        self._offset = 0

    def carry(self) -> bool:
        """Carry over whole lines added since; return whether there were any.

        Raises:
            StoreUnavailable: from what was not taken on, the next call goes on.
        """
        carried = False
        is_more = True
        while is_more:
            whole, is_more = self._read()
            carried |= self._take_on(whole)
        return carried

    def carry_but_the_rest(self) -> tuple[LogLine, ...]:
        """Carry over all but the last lines, if those are few; return them.

        For a log that is whole: who records its end stores them with that.

        Raises:
            StoreUnavailable: as `carry`.
        """
        while True:
            whole, is_more = self._read()
            if not is_more and len(whole) <= REST_BYTES:
                return self._parsed(whole)
            self._take_on(whole)

    def _take_on(self, whole: bytes) -> bool:
        lines = self._parsed(whole)
        if lines:
            self._store.append(self._run_id, lines)
        self._offset += len(whole)
        return bool(lines)

    def _parsed(self, whole: bytes) -> tuple[LogLine, ...]:
        parsed = (self._parse(line) for line in whole.splitlines())
        return tuple([line for line in parsed if line is not None])

    def _read(self) -> tuple[bytes, bool]:
        """Return whole lines, as many as a batch holds, and whether there may be more."""
        try:
            with self._path.open("rb", buffering=0) as file:
                added = os.fstat(file.fileno()).st_size - self._offset
                # Not a whole batch at once: memory for one is mapped for each few lines.
                data = os.pread(file.fileno(), min(max(added, 0), BATCH_BYTES), self._offset)
        except FileNotFoundError:
            return b"", False
        whole = data[: data.rfind(b"\n") + 1]  # a killed supervisor may leave half a line
        return whole, added > BATCH_BYTES and bool(whole)

    def _parse(self, line: bytes) -> LogLine | None:
        try:
            seq, at_ms, stream, message, *given = json.loads(line)
        except ValueError:
            return None  # damaged on disk: the other lines are worth having
        message = self._mask.text(message)
        level = given[0] if given else _LEVELS[stream]
        return LogLine(seq, from_milliseconds(at_ms), level, stream, message)
