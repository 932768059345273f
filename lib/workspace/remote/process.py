"""One process of git: bounded in time and output, ended with all that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final, Self

MAX_OUTPUT_BYTES: Final = 1024 * 1024  # of each stream; more is read and dropped
TERMINATE_SECONDS: Final = 1.0  # for git to remove its lock files

_POLL_SECONDS: Final = 0.05
_CHUNK_BYTES: Final = 64 * 1024


class Closed(Exception):
    """The server is stopping; what ran was ended."""


@dataclass(frozen=True)
class Output:
    """How a process ended, and what it wrote."""

    status: int
    out: str
    errors: str


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    seconds: float,
    closing: threading.Event,
) -> Output:
    """Run a command in a session of its own and wait for it.

    Who inherited its outputs and lives on (ssh's shared connections do) is not
    waited for.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took longer than `seconds`; it was ended.
        Closed: `closing` was set; it was ended.
    """
    if closing.is_set():
        raise Closed
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its own helpers are ended with it
    )
    with process:
        try:
            return _wait(process, time.monotonic() + seconds, closing)
        except BaseException:
            _end(process)
            raise


def _wait(process: subprocess.Popen[bytes], deadline: float, closing: threading.Event) -> Output:
    with _Reader(process) as reader:
        while process.poll() is None:
            if closing.is_set():
                raise Closed
            if time.monotonic() > deadline:
                raise TimeoutError
            if reader.is_open:
                reader.read(_POLL_SECONDS)
            else:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        reader.drain()
        return Output(process.returncode, *reader.texts())


class _Reader:
    """Both outputs of a process, as far as they are kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101  # both are pipes
        assert process.stderr is not None  # noqa: S101
        self._streams = (process.stdout, process.stderr)
        self._taken = {stream: bytearray() for stream in self._streams}
        self._selector = selectors.DefaultSelector()
        for stream in self._streams:
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    @property
    def is_open(self) -> bool:
        return bool(self._selector.get_map())

    def read(self, seconds: float) -> bool:
        """Take what comes within `seconds`; returns whether something did."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            stream: IO[bytes] = key.fileobj  # type: ignore[assignment]
            with suppress(BlockingIOError):
                data = os.read(stream.fileno(), _CHUNK_BYTES)
                if not data:
                    self._selector.unregister(stream)
                taken = self._taken[stream]
                taken += data[: MAX_OUTPUT_BYTES - len(taken)]
        return bool(ready)

    def drain(self) -> None:
        """Take what a process that ended has left; a full pipe at most of each."""
        for _ in range(2 * MAX_OUTPUT_BYTES // _CHUNK_BYTES):
            if not self.is_open or not self.read(0):
                return

    def texts(self) -> tuple[str, str]:
        out, errors = (self._taken[stream].decode("utf-8", "replace") for stream in self._streams)
        return out, errors


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then for good."""
    if process.poll() is not None:
        return  # reaped: its number may be somebody else's by now
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + TERMINATE_SECONDS
    # not reaped meanwhile, so that the group's number stays its own
    while time.monotonic() < deadline and not _has_ended(process):
        time.sleep(_POLL_SECONDS / 10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
