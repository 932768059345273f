r"""What the server and a run's supervisor say to each other, and leave on disk.

The server connects to the zygote's socket and sends one launch: four bytes of length
and a JSON object. The zygote accepts, and passes the connection on, unread, to a
supervisor that is ready, and that gets all ready for the run. Nothing of it runs before
the word to begin. The connection is the run's for as long as both live:

server -> supervisor    `begin\n`, once and before all else; `cancel\n`, `note LEVEL TEXT\n` with TEXT in JSON
supervisor -> server    `started\n`, `log\n` after each flush, `noted\n` when a note stands
                        in the log, `exit\n`

The server hangs up when the run's end is on record; the supervisor soon after `exit`.

A restarted server connects to `control.sock` in `<folder>/meta` and goes on there.

What must outlive either side is a file in `<folder>/meta`:

started.json   written before the worker is let go: who supervises
log.ndjson     the log so far: one `[seq, milliseconds, stream, message]` a line,
               and the level where the worker gave one
exit.json      written last: how it ended

The worker sees `<folder>/work` only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

from lib.sandbox import syscalls

GO: Final = b"g"  # supervisor -> worker, after the launch: it may begin
MOUNTS: Final = b"m"  # worker -> supervisor, with the descriptor of its mount namespace
CONTROL_SOCKET: Final = "control.sock"
STARTED_FILE: Final = "started.json"
LOG_FILE: Final = "log.ndjson"
EXIT_FILE: Final = "exit.json"

BEGIN: Final = b"begin\n"
CANCEL: Final = b"cancel\n"
NOTE: Final = b"note "
STARTED: Final = b"started\n"
LOG: Final = b"log\n"
NOTED: Final = b"noted\n"
EXIT: Final = b"exit\n"

_LENGTH: Final = struct.Struct("!I")
MAX_LAUNCH_BYTES: Final = 16 * 1024 * 1024
RESERVED_BYTES: Final = 32 * 1024  # 4 KiB of stderr with each byte as `\\ufffd`, 8 KiB for the rest
FULL_DISK_SECONDS: Final = 5.0
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_RETRY_SECONDS: Final = 0.1
_ASK_OTHERWISE: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR)
_DISK_IS_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class ProcessLimits:
    """What one run may use; None: no limit of its own.

    Attributes:
        file_bytes: Size of any one file and of the whole folder.
        log_bytes: Log text kept: half from the start, half from the end.
    """

    timeout_seconds: float
    memory_bytes: int
    processes: int
    file_bytes: int
    log_bytes: int
    cpu_seconds: int | None = None


@dataclass(frozen=True)
class LaunchRequest:
    """Everything a supervisor needs to start and watch one attempt of a run.

    Attributes:
        folder: Absolute path of the attempt's folder, with `work` and `meta` in it.
        first_seq: Sequence number of the first log line.
        environment: All the worker's process gets; holds secrets, never written.
        secret_names: Those of its variables whose values are masked in the log.
        warm: Run the Python file in a forked interpreter instead of a new one.
        readable: Paths that this run may read beside what all may.
        egress: Hosts that it may reach, see the manifest; None: no network.
        has_lasting_secrets: Whether a secret of it is still good when the run is over:
            its supervisor serves no other run then.
    """

    run_id: str
    fence: int
    folder: str
    command: tuple[str, ...]
    environment: dict[str, str]
    limits: ProcessLimits
    first_seq: int = 1
    warm: bool = False
    secret_names: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    egress: tuple[str, ...] | None = None
    has_lasting_secrets: bool = False

    @property
    def work(self) -> str:
        """The worker's folder on the host."""
        return os.path.join(self.folder, "work")  # noqa: PTH118 - on the hot path

    @property
    def meta(self) -> str:
        """The supervisor's folder."""
        return os.path.join(self.folder, "meta")  # noqa: PTH118

    def with_variables(self, variables: dict[str, str]) -> LaunchRequest:
        """Return it with more variables in the environment."""
        return LaunchRequest(**{**vars(self), "environment": self.environment | variables})

    def encode(self) -> bytes:
        """Return the framed message."""
        # Not `asdict`, which copies all that is only read.
        body = json.dumps({**vars(self), "limits": vars(self.limits)}).encode()
        return _LENGTH.pack(len(body)) + body

    @classmethod
    def receive(cls, connection: socket.socket) -> LaunchRequest:
        """Read one message; blocks until it is whole.

        Raises:
            EOFError: the other side closed before it was.
        """
        (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size))
        if length > MAX_LAUNCH_BYTES:
            raise EOFError("launch message is too long")
        return cls._decode(_receive_exactly(connection, length))

    @classmethod
    def _decode(cls, body: bytes) -> LaunchRequest:
        fields: dict[str, Any] = json.loads(body)
        for name in ("command", "secret_names", "readable", "egress"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        fields["limits"] = ProcessLimits(**fields["limits"])
        return cls(**fields)


def rehearse() -> None:
    """Read a message as it will be read, so that the pages which that writes are there.

    A forked process copies a page when it first writes to it, and Python writes
    to all that it uses. What is done before there is a run need not be waited for.
    """
    LaunchRequest._decode(_SAMPLE)  # noqa: SLF001


_SAMPLE: Final = LaunchRequest("", 0, "", (), {"": ""}, ProcessLimits(1.0, 1, 1, 1, 1)).encode()[
    _LENGTH.size :
]


@dataclass(frozen=True)
class ZygoteSettings:
    """What a zygote is told at its start, as JSON on its standard input: no secrets.

    Attributes:
        confines: Whether workers are confined, as far as the host lets them be.
        stage: An empty folder, for `NewRoot`.
        uids: Folder of the locks that stand for user ids, where /run has no place
            for them.
        readable: What workers may read beside the system: interpreters.
        hidden: What they must not see wherever it lies.
        needed_paths: What they must reach under another uid.
        runs_folders: Those that lead to the runs' own, which nobody else may pass
            unless runs have users of their own and no mounts to be shown theirs.
        spares: How many supervisors there are at least, with a run or without.
        api_socket: Where the server takes what runs call; None: nowhere.
        network: Module by which runs reach hosts; None: the real one.
    """

    confines: bool
    stage: str
    uids: str
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    needed_paths: tuple[str, ...] = ()
    runs_folders: tuple[str, ...] = ()
    spares: int = 1
    api_socket: str | None = None
    network: str | None = None

    def encode(self) -> str:
        """Return it as JSON, on one line."""
        return json.dumps(vars(self))

    @classmethod
    def decode(cls, text: str) -> ZygoteSettings:
        """Return what `encode` was given."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("readable", "hidden", "needed_paths", "runs_folders"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class ExitRecord:
    """How an attempt ended, as its supervisor saw it.

    Attributes:
        exit_code: As a shell reports it: 128 + signal number for a signal.
        ended_by: `cancel`, or the limit that ended it; None when it ended itself.
        problem: Why the process could not be started, if it could not.
        is_unconfined: It was not started because it could not be confined.
        stderr_tail: The last lines of stderr, for the error message.
        last_seq: Sequence number of the last log line.
    """

    fence: int
    exit_code: int
    ended_by: str | None
    problem: str | None
    wall_ms: int
    cpu_ms: int
    max_rss_bytes: int
    last_seq: int
    dropped_lines: int
    stderr_tail: str
    is_unconfined: bool = False


def receive_begin(connection: socket.socket) -> None:
    """Return at the word to begin, which comes before all others.

    Raises:
        EOFError: the other side hangs up instead.
    """
    word = _receive_exactly(connection, len(BEGIN))
    if word != BEGIN:
        raise EOFError(f"{word!r} where the run should begin")


def encode_note(level: str, message: str) -> bytes:
    """Return the word that adds a line to the run's log."""
    return NOTE + f"{level} {json.dumps(message)}\n".encode()


def decode_note(word: bytes) -> tuple[str, str]:
    """Return level and message of a note, which has lost its newline."""
    level, _, text = word.removeprefix(NOTE).partition(b" ")
    return level.decode(), json.loads(text)


def reserve(folder_fd: int, name: str) -> None:
    """Take the room for what `write_whole` is to write below `folder_fd` later.

    So no worker can keep its own outcome from being recorded by filling the disk.

    Raises:
        OSError: there is no room now.
    """
    temporary, file = _open_temporary(folder_fd, name)
    try:
        _take_room(file)
    except OSError as error:
        if error.errno in _DISK_IS_FULL:
            os.unlink(temporary, dir_fd=folder_fd)
            raise
        # This file system cannot promise anything; `write_whole` does what it can.
    finally:
        os.close(file)


def _take_room(file: int) -> None:
    try:
        # The size stays 0: what is written needs no cutting off, which costs more than all else.
        syscalls.call("fallocate", file, _KEEP_SIZE, 0, RESERVED_BYTES)
    except OSError as error:
        if error.errno not in _ASK_OTHERWISE:
            raise
        os.posix_fallocate(file, 0, RESERVED_BYTES)  # writes zeros, if need be


def write_whole(
    folder_fd: int,
    name: str,
    value: dict[str, Any],
    *,
    patience_seconds: float = FULL_DISK_SECONDS,
) -> None:
    """Write a JSON file below `folder_fd` whole or not at all, by rename.

    It survives every process, but not the host: that needs two syncs of 3 ms,
    and would prove nothing, because the worker's own files are not synced. So
    after a reboot nobody believes these files (`lib/runs/recovery.py`). While the
    disk is full it is tried again, for `patience_seconds`.

    Raises:
        OSError: it could not be written; what stood there before still does.
    """
    data = json.dumps(value).encode()
    temporary, file = _open_temporary(folder_fd, name)
    try:
        _write_all(file, data, time.monotonic() + patience_seconds)
        if os.fstat(file).st_size > len(data):
            os.ftruncate(file, len(data))
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise
    finally:
        os.close(file)


def _open_temporary(folder_fd: int, name: str) -> tuple[str, int]:
    """Return name and descriptor; not truncated, because its room may be reserved."""
    temporary = f".{name}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return temporary, os.open(temporary, flags, 0o600, dir_fd=folder_fd)


def _write_all(file: int, data: bytes, deadline: float) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except OSError as error:
            if error.errno not in _DISK_IS_FULL or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError("connection closed within a message")
        parts += part
    return bytes(parts)
