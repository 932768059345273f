"""Supervising one run: starts the worker, watches it, ends all of it, says how.

What must be known later is written to `<folder>/meta` (see `wire`): a server that
was killed finds there how the run ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Final

from lib.sandbox import process_tree, wire
from lib.sandbox.child import Child, StartError
from lib.sandbox.confinement import ConfinementError
from lib.sandbox.folder_size import FolderSize
from lib.sandbox.init_process import FAILED, KILLED, Ended, InitProcess
from lib.sandbox.log_keeper import LEVELS, LogKeeper, Stream
from lib.sandbox.place import Place
from lib.sandbox.process_names import own_name
from lib.sandbox.server_link import ServerLink
from lib.secrets.mask import Mask

GRACE_SECONDS: Final = 3.0  # between SIGTERM and SIGKILL
WITHOUT_GRACE: Final = frozenset({"disk_exceeded", "memory_exceeded", "processes_exceeded"})
TICK_SECONDS: Final = 0.25  # flush and check limits this often,
FIRST_TICK_SECONDS: Final = 0.1  # and first so soon, for what grows at once; short runs need none
READ_BYTES: Final = 64 * 1024  # more would be mapped and unmapped at each read, malloc(3)
MAX_READS: Final = 32  # twice what a pipe holds
DRAIN_SECONDS: Final = 2.0  # for what is left in the pipes once all writers are dead


class Supervisor:
    """Watches one attempt until nothing of it is left.

    Args:
        request: What to start.
        connection: To the server; may break at any time.
        meta: Descriptor of the `meta` folder.
        work: Descriptor of the worker's folder.
        place: Where to start it.
        child: What `place.brief` returned; it confines itself meanwhile.
    """

    def __init__(
        self,
        request: wire.LaunchRequest,
        connection: socket.socket,
        meta: int,
        work: int,
        place: Place,
        child: Child | ConfinementError,
    ) -> None:
        self._request = request
        self._limits = request.limits
        self._meta = meta
        self._work = work
        self._place = place
        self._child = child
        self._init_lives = False
        self._poll = select.poll()
        self._server = ServerLink(connection, meta, self._poll)
        self._log = LogKeeper(
            os.open(wire.LOG_FILE, _APPEND, 0o600, dir_fd=meta),
            first_seq=request.first_seq,
            budget_bytes=request.limits.log_bytes,
            mask=Mask(request.environment[name] for name in request.secret_names),
        )
        self._folder_size = FolderSize(work)
        self._started = time.monotonic()
        self._ended_by: str | None = None
        self._kill_at: float | None = None
        self._max_rss_bytes = 0
        self._stopping = False
        self._wake, self._wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._gate = -1
        self._has_no_gate = False
        self._is_starting = False
        self._spares_keeper = True
        self._cpu_before = 0.0
        self._streams: dict[int, Stream] = {}

    def await_begin(self) -> None:
        """Get all ready, and return at the word to begin.

        Raises:
            EOFError: the server hangs up instead.
            OSError: there is no room for what must be written later.
        """
        self._server.take_place()
        wire.reserve(self._meta, wire.EXIT_FILE)  # the worker may fill the disk
        self._server.await_begin()
        if not self._server.is_there:  # the word may be an old one
            raise EOFError("the server has gone since it said so")
        self._started = time.monotonic()

    def run(self) -> None:
        """Start the worker, watch it to its end, leave the exit record."""
        signal.set_wakeup_fd(self._wake_end)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._write_started()
        if not self._server.is_there:  # who looked before the mark was there queues the run again
            os.unlink(wire.STARTED_FILE, dir_fd=self._meta)
            return
        self._server.listen()  # no sooner: a server that is let in has a run that begins
        try:
            child = self._let_go()
            self._place.gateway.watch(self._poll)
            ended = self._watch(child)
        except (StartError, ConfinementError) as error:
            self._finish(Ended(FAILED, cpu_ms=0), problem=error)
            return
        self._drain(child)
        self._judge_once_more(ended)
        self._finish(ended)

    @property
    def may_go_on(self) -> bool:
        """Whether another run may follow this one, which is over."""
        was_ended = self._ended_by is not None or self._stopping
        return self._init_lives and not was_ended and not self._request.has_lasting_secrets

    def outlast_server(self, seconds: float) -> None:
        """Wait until the server has let go of the run, which is over; at most so long."""
        self._server.outlast(seconds)

    def close(self) -> None:
        """Let go of all that is this run's, but for its place."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        self._server.close()
        self._log.close()
        self._folder_size.close()
        for descriptor in (self._wake, self._wake_end, self._meta):
            os.close(descriptor)

    def _on_sigterm(self, *_: object) -> None:
        self._stopping = True  # taken up by the next tick, which the wake-up descriptor brings

    def _let_go(self) -> Child:
        if isinstance(self._child, ConfinementError):
            raise self._child
        self._place.give(self._work)  # which is filled since the word to begin
        self._child.let_go()
        return self._child

    def _write_started(self) -> None:
        mark = {**own_name(), "fence": self._request.fence}
        wire.write_whole(self._meta, wire.STARTED_FILE, mark)

    def _watch(self, child: Child) -> Ended:
        """Pump output and check limits until nothing of the worker is left.

        Also while its program starts: a worker can hold up who says that it has.

        Raises:
            StartError, ConfinementError: see `Child.check`.
        """
        self._streams = {child.stdout: "stdout", child.stderr: "stderr"}
        ends = self._init.line.fileno()
        starts = child.outcome
        self._is_starting = True
        self._cpu_before = self._cpu_seconds_since_start([])
        for descriptor in (*self._streams, ends, starts, self._wake):
            self._poll.register(descriptor, select.POLLIN)
        next_tick = time.monotonic() + FIRST_TICK_SECONDS
        while True:
            polled = self._poll.poll(max(0.0, next_tick - time.monotonic()) * 1000)
            ready = {descriptor for descriptor, _ in polled}
            if self._is_starting and (starts in ready or ends in ready):
                self._poll.unregister(starts)
                self._is_starting = False
                child.check()
                self._server.tell(wire.STARTED)
            self._pump(ready)
            if ends in ready:
                return self._end()
            if time.monotonic() >= next_tick or self._must_stop():
                self._tick()
                next_tick = time.monotonic() + TICK_SECONDS

    def _end(self) -> Ended:
        """Return how it ended; what it may have left behind is gone then."""
        ended = self._init.ended()
        if ended is None:
            process_tree.end_below(os.getpid())
            cpu_seconds = process_tree.reaped_cpu_seconds() - self._cpu_before
            return Ended(KILLED, round(cpu_seconds * 1000))
        self._init_lives = True
        return ended

    @property
    def _init(self) -> InitProcess:
        """Init, where there is a worker."""
        if isinstance(self._place.init, ConfinementError):
            raise self._place.init
        return self._place.init

    def _must_stop(self) -> bool:
        """Whether SIGTERM came and nothing has been done about it yet."""
        return self._stopping and self._ended_by is None

    def _pump(self, ready: set[int]) -> None:
        for descriptor in self._streams:  # stdout first: what explains a failure comes last
            if descriptor in ready:
                self._read(descriptor)
        if self._wake in ready:
            os.read(self._wake, 64)
        for word in self._server.hear(ready):
            self._obey(word)
        self._serve_visitors(ready)
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

    def _obey(self, word: bytes) -> None:
        if word == wire.CANCEL.strip():
            self._stop("cancel")
        elif word.startswith(wire.NOTE):
            self._take_note(*wire.decode_note(word))

    def _take_note(self, level: str, message: str) -> None:
        """Put a note after all that was printed before it was sent."""
        for descriptor in self._streams:
            for _ in range(MAX_READS):  # a worker that never stops printing gets its note in, too
                if not self._read(descriptor):
                    break
        if level in LEVELS:
            self._log.feed(level, message.encode(errors="replace") + b"\n", _now())
        self._server.tell(wire.NOTED)

    def _serve_visitors(self, ready: set[int]) -> None:
        """Put what a gate tells into the log, and have one serve who comes.

        In this order: a new gate's pipe may have the number of what was ready and is closed by now.
        """
        gateway, request = self._place.gateway, self._request
        for notice in gateway.notices(self._poll, ready):
            self._log.note(notice, _now())
        if gateway.has_visitor(ready):
            try:
                self._gate = gateway.open_gate(self._poll, request.run_id, request.egress)
            except OSError:
                self._has_no_gate = True  # the run goes on; its visitors wait for the next tick

    def _tick(self) -> None:
        self._flush()
        process_tree.reap_orphans(self._init.pid)
        if self._has_no_gate:
            self._has_no_gate = False
            self._place.gateway.watch(self._poll)
        pids = self._pids()
        if self._ended_by is None:
            self._check_limits(pids)
        self._spares_keeper = self._is_starting  # once more after the start: it ends just now
        if self._must_stop():
            self._stop("cancel")
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            process_tree.signal_all([self._init.pid, *pids], signal.SIGKILL)

    def _pids(self) -> list[int]:
        """Return the worker's processes; the gate and init are ours."""
        ours = (self._gate, self._init.pid)
        return [pid for pid in process_tree.descendants(os.getpid()) if pid not in ours]

    def _check_limits(self, pids: list[int]) -> None:
        limits = self._limits
        if time.monotonic() - self._started >= limits.timeout_seconds:
            self._stop("timeout")
        elif len(pids) - self._spares_keeper > limits.processes:
            self._stop("processes_exceeded")
        elif limits.cpu_seconds and self._cpu_seconds(pids) > limits.cpu_seconds:
            self._stop("cpu_exceeded")
        elif self._place.was_out_of_memory() or self._memory_in_use(pids) > limits.memory_bytes:
            self._stop("memory_exceeded")
        elif self._folder_size.due() and self._folder_size.measure(pids) > limits.file_bytes:
            self._stop("disk_exceeded")

    def _cpu_seconds(self, pids: list[int]) -> float:
        """Return what the whole run has used, also by those whom nobody of it waited for.

        But for those that ended while their parent ignored SIGCHLD: only a group counts them.
        """
        counted = self._cpu_seconds_since_start(pids) - self._cpu_before
        return max(counted, self._place.cpu_seconds())

    def _cpu_seconds_since_start(self, pids: list[int]) -> float:
        """Return that with what earlier runs used: those that init or this process reaped."""
        init = self._place.init
        inits = [init.pid] if isinstance(init, InitProcess) else []
        return process_tree.cpu_seconds([*pids, *inits]) + process_tree.reaped_cpu_seconds()

    def _memory_in_use(self, pids: list[int]) -> int:
        """Return the tree's memory; exact only where the cheap upper bound is over the limit."""
        if self._place.counts_memory:
            return 0  # the kernel itself holds the limit
        resident = process_tree.resident_bytes(pids)
        if resident > self._limits.memory_bytes:
            resident = process_tree.proportional_bytes(pids)
        self._max_rss_bytes = max(self._max_rss_bytes, resident)
        return resident

    def _stop(self, reason: str) -> None:
        """Ask the whole tree to end; it is killed when the grace is over.

        None is given where it would go on taking what it has too much of.
        """
        if self._ended_by is not None:
            return
        self._ended_by = reason
        is_greedy = reason in WITHOUT_GRACE
        self._kill_at = time.monotonic() + (0 if is_greedy else GRACE_SECONDS)
        number = signal.SIGKILL if is_greedy else signal.SIGTERM
        process_tree.signal_all(self._pids(), number)

    def _drain(self, child: Child) -> None:
        """Take what is left in the pipes. Nobody can write to them any more."""
        deadline = time.monotonic() + DRAIN_SECONDS
        for descriptor in (child.stdout, child.stderr):
            while time.monotonic() < deadline and self._read(descriptor):
                pass

    def _judge_once_more(self, ended: Ended) -> None:
        """A quick worker may be over its limit between two ticks."""
        if self._ended_by is not None:
            return
        if self._folder_size.measure() > self._limits.file_bytes:
            self._ended_by = "disk_exceeded"
        elif self._place.was_out_of_memory():
            self._ended_by = "memory_exceeded"
        elif ended.exit_code and self._place.was_out_of_tasks():
            self._ended_by = "processes_exceeded"

    def _finish(self, ended: Ended, *, problem: Exception | None = None) -> None:
        self._log.finish(_now())
        record = wire.ExitRecord(
            fence=self._request.fence,
            exit_code=ended.exit_code,
            ended_by=self._ended_by,
            problem=None if problem is None else str(problem),
            is_unconfined=isinstance(problem, ConfinementError),
            wall_ms=round((time.monotonic() - self._started) * 1000),
            cpu_ms=ended.cpu_ms,
            max_rss_bytes=self._place.peak_bytes() or self._max_rss_bytes,
            last_seq=self._log.last_seq,
            dropped_lines=self._log.dropped_lines,
            stderr_tail=self._log.stderr_tail,
        )
        wire.write_whole(self._meta, wire.EXIT_FILE, vars(record))
        self._server.tell(wire.EXIT)
        if isinstance(self._child, Child):
            self._child.let_go_of_mounts()

    def _flush(self) -> None:
        if self._log.flush():
            self._server.tell(wire.LOG)


_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def _now() -> int:
    return time.time_ns() // 1_000_000
