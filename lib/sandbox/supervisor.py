"""One run's supervisor: starts the worker, watches it, ends all of it, says how.

It is a small process in a session of its own that outlives the server. It holds
no descriptor but its connection, the pipes and the `meta` folder, and writes
what must be known later to `<folder>/meta` (see `wire`): a server that was
killed finds there how the run ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from dataclasses import asdict
from typing import Final

from lib.sandbox import linux, process_tree, wire
from lib.sandbox.child import MAX_OPEN_FILES, Child, StartError
from lib.sandbox.folder_size import FolderSize
from lib.sandbox.log_keeper import LogKeeper, Stream
from lib.sandbox.warm import WarmStart
from lib.secrets.mask import Mask

GRACE_SECONDS: Final = 3.0  # between SIGTERM and SIGKILL
TICK_SECONDS: Final = 0.25  # flush and check limits this often
READ_BYTES: Final = 256 * 1024
DRAIN_SECONDS: Final = 2.0  # for what is left in the pipes once all writers are dead


def supervise(connection: socket.socket) -> WarmStart | None:
    """Serve one launch from request to exit record. Runs in a process of its own.

    Returns:
        None in the supervisor, when all is over. In the worker's own process,
        forked from here, what it is to run.
    """
    os.setsid()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    request = wire.LaunchRequest.receive(connection)
    meta = os.open(os.path.join(request.folder, "meta"), os.O_RDONLY | os.O_DIRECTORY)  # noqa: PTH118
    return Supervisor(request, connection, meta).run()


class Supervisor:
    """Watches one attempt until nothing of it is left.

    Args:
        request: What to start.
        connection: To the server; may break at any time.
        meta: Descriptor of the `meta` folder.
    """

    def __init__(self, request: wire.LaunchRequest, connection: socket.socket, meta: int) -> None:
        self._request = request
        self._limits = request.limits
        self._connection: socket.socket | None = connection
        self._meta = meta
        self._poll = select.poll()
        self._log = LogKeeper(
            os.open(wire.LOG_FILE, _APPEND, 0o600, dir_fd=meta),
            first_seq=request.first_seq,
            budget_bytes=request.limits.log_bytes,
            mask=Mask(request.environment[name] for name in request.secret_names),
        )
        self._folder_size = FolderSize(os.path.join(request.folder, "work"))  # noqa: PTH118
        self._started = time.monotonic()
        self._ended_by: str | None = None
        self._kill_at: float | None = None
        self._max_rss_bytes = 0
        self._stopping = False
        self._wake = -1
        self._streams: dict[int, Stream] = {}

    def run(self) -> WarmStart | None:
        """Start the worker, watch it to its end, leave the exit record; see `supervise`."""
        self._wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_end)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._write_started()
        try:
            child = Child.start(self._request)
        except StartError as error:
            self._finish(exit_code=127, problem=str(error), cpu_ms=0)
            return None
        if isinstance(child, WarmStart):
            self._let_go()
            return child
        self._tell(wire.STARTED)
        exit_code = self._watch(child)
        process_tree.end_below(os.getpid())
        self._drain(child)
        self._check_folder_once_more()
        self._finish(exit_code=exit_code, problem=None, cpu_ms=_cpu_ms())
        return None

    def _let_go(self) -> None:
        """In the worker's process: close every descriptor that is ours.

        Objects that own one must give it up first: when they go, they would
        close whatever has its number by then. The pipe that tells of a failed
        start closes here too, which says that this one succeeded.
        """
        if self._connection:
            self._connection.detach()
        os.closerange(3, MAX_OPEN_FILES)

    def _on_sigterm(self, *_: object) -> None:
        self._stopping = True  # taken up by the next tick, which the wake-up descriptor brings

    def _write_started(self) -> None:
        pid = os.getpid()
        mark = {"pid": pid, "start_time": linux.start_time(pid), "boot_id": linux.boot_id()}
        wire.write_whole(self._meta, wire.STARTED_FILE, {**mark, "fence": self._request.fence})

    def _watch(self, child: Child) -> int:
        """Pump output and check limits until the worker's first process ends."""
        self._streams = {child.stdout: "stdout", child.stderr: "stderr"}
        for descriptor in (*self._streams, child.pidfd, self._wake):
            self._poll.register(descriptor, select.POLLIN)
        if self._connection:
            self._poll.register(self._connection, select.POLLIN)
        next_tick = time.monotonic() + TICK_SECONDS
        while True:
            ready = self._poll.poll(max(0.0, next_tick - time.monotonic()) * 1000)
            self._pump({descriptor for descriptor, _ in ready})
            if child.pidfd in {descriptor for descriptor, _ in ready}:
                return child.reap()
            if time.monotonic() >= next_tick or self._must_stop():
                self._tick(child)
                next_tick = time.monotonic() + TICK_SECONDS

    def _must_stop(self) -> bool:
        """Whether SIGTERM came and nothing has been done about it yet."""
        return self._stopping and self._ended_by is None

    def _pump(self, ready: set[int]) -> None:
        for descriptor in ready & self._streams.keys():
            self._read(descriptor)
        if self._wake in ready:
            os.read(self._wake, 64)
        if self._connection and self._connection.fileno() in ready:
            self._hear(self._connection)
        if self._log.needs_flush:
            self._flush()

    def _read(self, descriptor: int) -> bool:
        """Take what one pipe holds; return whether there was anything."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)
            return False
        self._log.feed(self._streams[descriptor], data, _now())
        return True

    def _hear(self, connection: socket.socket) -> None:
        try:
            words = connection.recv(4096)
        except OSError:
            words = b""
        if not words:  # the server is gone; the run goes on
            self._poll.unregister(connection)
            self._connection = None
        elif wire.CANCEL in words:
            self._end("cancel")

    def _tick(self, child: Child) -> None:
        self._flush()
        process_tree.reap_orphans(child.pid)
        pids = process_tree.descendants(os.getpid())
        if self._ended_by is None:
            self._check_limits(pids)
        if self._must_stop():
            self._end("cancel")
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            process_tree.signal_all(pids, signal.SIGKILL)

    def _check_limits(self, pids: list[int]) -> None:
        limits = self._limits
        if time.monotonic() - self._started >= limits.timeout_seconds:
            self._end("timeout")
        elif len(pids) > limits.processes:
            self._end("processes_exceeded")
        elif self._memory_in_use(pids) > limits.memory_bytes:
            self._end("memory_exceeded")
        elif self._folder_size.due() and self._folder_size.measure() > limits.file_bytes:
            self._end("disk_exceeded")

    def _memory_in_use(self, pids: list[int]) -> int:
        """Return the tree's memory; exact only where the cheap upper bound is over the limit."""
        resident = process_tree.resident_bytes(pids)
        if resident > self._limits.memory_bytes:
            resident = process_tree.proportional_bytes(pids)
        self._max_rss_bytes = max(self._max_rss_bytes, resident)
        return resident

    def _end(self, reason: str) -> None:
        """Ask the whole tree to end; it is killed when the grace is over."""
        if self._ended_by is not None:
            return
        self._ended_by = reason
        self._kill_at = time.monotonic() + GRACE_SECONDS
        process_tree.signal_all(process_tree.descendants(os.getpid()), signal.SIGTERM)

    def _drain(self, child: Child) -> None:
        """Take what is left in the pipes. Nobody can write to them any more."""
        deadline = time.monotonic() + DRAIN_SECONDS
        for descriptor in (child.stdout, child.stderr):
            while time.monotonic() < deadline and self._read(descriptor):
                pass

    def _check_folder_once_more(self) -> None:
        """A quick writer may be over its limit between two ticks."""
        if self._ended_by is None and self._folder_size.measure() > self._limits.file_bytes:
            self._ended_by = "disk_exceeded"

    def _finish(self, *, exit_code: int, problem: str | None, cpu_ms: int) -> None:
        self._log.finish(_now())
        record = wire.ExitRecord(
            fence=self._request.fence,
            exit_code=exit_code,
            ended_by=self._ended_by,
            problem=problem,
            wall_ms=round((time.monotonic() - self._started) * 1000),
            cpu_ms=cpu_ms,
            max_rss_bytes=self._max_rss_bytes,
            last_seq=self._log.last_seq,
            dropped_lines=self._log.dropped_lines,
            stderr_tail=self._log.stderr_tail,
        )
        wire.write_whole(self._meta, wire.EXIT_FILE, asdict(record))
        self._tell(wire.EXIT)

    def _flush(self) -> None:
        if self._log.flush():
            self._tell(wire.LOG)

    def _tell(self, word: bytes) -> None:
        if self._connection:
            with contextlib.suppress(OSError):  # never wait for a server that does not listen
                self._connection.send(word, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def _now() -> int:
    return time.time_ns() // 1_000_000


def _cpu_ms() -> int:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((usage.ru_utime + usage.ru_stime) * 1000)
