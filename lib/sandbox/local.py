"""The local sandbox: a zygote beside the server, and its supervisors, one for each live run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from lib.log import event
from lib.manifest.policies import Limits
from lib.sandbox import wire
from lib.sandbox.live_process import LiveProcess
from lib.sandbox.port import HostReport, Launch, LiveRun, SandboxMode, SandboxUnavailable
from lib.sandbox.process_names import boot_id, start_time
from lib.sandbox.runtimes import base_python, runtime_folders
from lib.sandbox.zygote_process import (
    ENGINE_ROOT,
    ZygoteProcess,
    connect_below,
    remove_old_sockets,
)
from lib.storage.records import SandboxReport

log: Final = logging.getLogger(__name__)

SPARES: Final = 2
MEBIBYTE: Final = 1024 * 1024
ADOPTION_SECONDS: Final = 1.0
ORPHAN_SECONDS: Final = 8.0  # the supervisor's own grace is 3 s
TRIES: Final = 5
PAUSE_SECONDS: Final = 0.05


class LocalSandbox:
    """Runs workers as processes of this host, confined as far as it lets them be.

    Args:
        folder: Private folder for the zygote's socket, and the locks of user ids where /run
            has no place for them.
        mode: `require`, `best_effort` or `off`, as the settings say.
        runtimes: The interpreters' files.
        hidden: What no worker may see, wherever it lies: the server's folders.
        runs: The folder that attempts' folders are in.
        spares: How many supervisors there are at least, with a run or without.
        api_socket: Where the server takes what runs call; None: `FLOOM_API_URL` is not set.
        network: Module by which runs reach hosts; None: the real one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: SandboxMode = "best_effort",
        runtimes: Iterable[Path] = (),
        hidden: Sequence[Path] = (),
        runs: Path | None = None,
        spares: int = SPARES,
        api_socket: Path | None = None,
        network: str | None = None,
    ) -> None:
        self._mode = mode
        programs = [base_python(), *runtimes]
        stage = folder / "stage"
        self._folder = folder
        self._settings = wire.ZygoteSettings(
            confines=mode != "off",
            stage=str(stage),
            uids=str(folder / "uids"),
            readable=runtime_folders(programs),
            hidden=tuple(str(path) for path in (ENGINE_ROOT, folder, *hidden)),
            needed_paths=tuple(
                str(path) for path in (*programs, *([runs / "any"] if runs else []))
            ),
            runs_folders=() if runs is None else (str(runs.parent), str(runs)),
            spares=spares,
            api_socket=None if api_socket is None else str(api_socket),
            network=network,
        )
        remove_old_sockets(folder)
        self._lock = threading.Lock()
        self._zygote: ZygoteProcess | None = None
        self._retired: list[ZygoteProcess] = []
        self._is_renewing = False

    def report_at_hand(self) -> SandboxReport | None:
        """Return what holds here where there is a zygote; see the port."""
        zygote = self._zygote  # without the lock, which is held while one is started
        if sys.platform == "linux" and (zygote is None or not zygote.is_alive()):
            return None
        return self._report_of(zygote).holds

    def report(self) -> SandboxReport:
        """Return what holds here; see the port."""
        return self.inspect().holds

    def inspect(self) -> HostReport:
        """Return what the zygote's probe found; see the port."""
        return self._report_of(self._current() if sys.platform == "linux" else None)

    def _report_of(self, zygote: ZygoteProcess | None) -> HostReport:
        if zygote is None:
            return HostReport(self._mode, SandboxReport(), {"Linux": f"this is {sys.platform}"})
        found = zygote.found
        if found is None:
            return HostReport(self._mode, SandboxReport(limits="rlimits"), {})
        return HostReport(self._mode, SandboxReport(**found["properties"]), found["facts"])

    def prepare(self) -> None:
        """Start the zygote, so that the first run does not wait for it."""
        if sys.platform == "linux":
            self._current()

    def start(self, launch: Launch) -> LiveRun:
        """Get one attempt ready; see the port."""
        self._check()
        request = wire.LaunchRequest(
            run_id=launch.run_id,
            fence=launch.fence,
            folder=str(launch.folder),
            command=launch.command,
            environment=dict(launch.environment),
            limits=_process_limits(launch.limits),
            first_seq=launch.first_seq,
            warm=launch.warm and _is_python_file(launch.command),
            secret_names=launch.secret_names,
            readable=launch.readable,
            egress=launch.egress,
            has_lasting_secrets=launch.has_lasting_secrets,
        )
        connection = self._send(request.encode())
        self._renew_when_due()
        return LiveProcess(connection)

    def has_started(self, folder: Path) -> bool:
        """Whether the supervisor left its mark, which counts even where it cannot be read."""
        return (folder / "meta" / wire.STARTED_FILE).exists()

    def adopt(self, folder: Path) -> LiveRun | None:
        """Connect to a supervisor that lives; see the port.

        One that has left its mark just now does not listen yet, or takes the mark away again.
        """
        deadline = time.monotonic() + ADOPTION_SECONDS
        while (pidfd := _open_orphan(folder)) is not None:
            os.close(pidfd)
            with contextlib.suppress(OSError):
                return LiveProcess(connect_below(folder / "meta", wire.CONTROL_SOCKET))
            if time.monotonic() >= deadline:
                break
            time.sleep(PAUSE_SECONDS)
        return None

    def end_orphans(self, folders: Sequence[Path]) -> None:
        """End supervisors and all below them; see the port."""
        pidfds = [pidfd for folder in folders if (pidfd := _open_orphan(folder)) is not None]
        try:
            _end_all(pidfds, signal.SIGTERM)
            # What a killed supervisor leaves behind, the zygote ends.
            _end_all(pidfds, signal.SIGKILL)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)

    def kill(self, folder: Path) -> None:
        """Kill a supervisor; what it leaves behind, the zygote ends."""
        pidfd = _open_orphan(folder)
        if pidfd is None:
            return
        try:
            _end_all([pidfd], signal.SIGKILL)
        finally:
            os.close(pidfd)

    def find_exit(self, folder: Path) -> wire.ExitRecord | None:
        """Return the exit record, if it was written."""
        record = _read_json(folder / "meta" / wire.EXIT_FILE)
        return None if record is None else wire.ExitRecord(**record)

    def close(self) -> None:
        """Let the zygote end once its last run has."""
        with self._lock:
            for zygote in (*self._retired, *([self._zygote] if self._zygote else [])):
                zygote.close()
            self._zygote = None
            self._retired.clear()

    def _check(self) -> None:
        """Refuse what may not be started here."""
        if sys.platform != "linux":
            raise SandboxUnavailable("Runs start on Linux only.")
        if self._mode != "require":
            return
        report = self.inspect()
        if not report.is_whole:
            refused = "; ".join(f"{name}: {why}" for name, why in report.mechanisms.items() if why)
            raise SandboxUnavailable(
                f"FLOOM_SANDBOX=require, but nothing on this host holds "
                f"{', '.join(report.missing)} ({refused}). FLOOM_SANDBOX=best_effort runs workers "
                "all the same."
            )

    def _send(self, launch: bytes) -> socket.socket:
        """Return the connection by which a launch is on its way.

        One that could not be sent whole is never started, so it may be sent again: the
        zygote, or the supervisor that had the connection, was killed just then.

        Raises:
            SandboxUnavailable: that happens again and again.
        """
        for _ in range(TRIES):
            try:
                connection = self._connect()
            except ConnectionError:  # it is about to end, and `is_alive` as yet
                time.sleep(PAUSE_SECONDS)
                continue
            try:
                connection.sendall(launch)
            except ConnectionError:
                connection.close()
                continue
            except TimeoutError:  # it is larger than what waits in a socket, and nobody takes it
                connection.close()
                break
            return connection
        raise SandboxUnavailable(
            "Whatever should have started the run was killed or does not answer."
        )

    def _connect(self) -> socket.socket:
        """Return a connection to a zygote that nobody replaces meanwhile."""
        with self._lock:
            return self._find_or_start().connect()

    def _current(self) -> ZygoteProcess:
        with self._lock:
            return self._find_or_start()

    def _find_or_start(self) -> ZygoteProcess:
        if self._zygote is None or not self._zygote.is_alive():
            if self._zygote is not None:
                self._zygote.retire()
            self._zygote = None  # in case the next one does not start
            self._zygote = ZygoteProcess(self._folder, self._settings)
        return self._zygote

    def _renew_when_due(self) -> None:
        """Replace a zygote that has served long: its children share hash seed and layout."""
        with self._lock:
            self._retired = [each for each in self._retired if each.is_alive()]
            due = self._zygote is not None and self._zygote.is_worn
            if not due or self._is_renewing:
                return
            self._is_renewing = True
        try:
            threading.Thread(target=self._renew, name="zygote-renewal", daemon=True).start()
        except RuntimeError:  # no more threads now: the next run tries again
            log.exception("zygote_not_renewed")
            with self._lock:
                self._is_renewing = False

    def _renew(self) -> None:
        try:
            self._take_over(ZygoteProcess(self._folder, self._settings))
        except (SandboxUnavailable, OSError):
            # The worn one goes on, and the next run tries again.
            log.exception("zygote_not_renewed")
        finally:
            with self._lock:
                self._is_renewing = False

    def _take_over(self, fresh: ZygoteProcess) -> None:
        with self._lock:
            if self._zygote is None:  # closed meanwhile
                fresh.close()
                return
            self._zygote.retire()
            self._retired.append(self._zygote)
            self._zygote = fresh


def _is_python_file(command: tuple[str, ...]) -> bool:
    """Whether a command is `python FILE ...` with the interpreter that the zygote is."""
    is_python = command[0] == str(base_python())
    return is_python and len(command) > 1 and not command[1].startswith("-")


def _process_limits(limits: Limits) -> wire.ProcessLimits:
    return wire.ProcessLimits(
        timeout_seconds=limits.timeout_seconds,
        memory_bytes=limits.memory_mb * MEBIBYTE,
        processes=limits.processes,
        file_bytes=limits.disk_mb * MEBIBYTE,
        log_bytes=limits.log_bytes,
        cpu_seconds=limits.cpu_seconds,
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return an object that a supervisor wrote; None: it is not there, or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        event(log, logging.WARNING, "run_file_damaged", path=str(path))
        return None
    return value if isinstance(value, dict) else None


def _read_mark(folder: Path) -> dict[str, Any] | None:
    return _read_json(folder / "meta" / wire.STARTED_FILE)


def _open_orphan(folder: Path) -> int | None:
    """Return a pidfd of the supervisor that left its mark here, if it still lives and is at it."""
    mark = _read_mark(folder)
    if mark is None or mark["boot_id"] != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(mark["pid"])
    except ProcessLookupError:
        return None
    is_it = start_time(mark["pid"]) == mark["start_time"]  # else the pid was given to another
    if not is_it or (folder / "meta" / wire.EXIT_FILE).exists():  # it may serve the next run
        os.close(pidfd)
        return None
    return pidfd


def _end_all(pidfds: list[int], number: signal.Signals) -> None:
    """Signal those that live and wait until they are gone, ORPHAN_SECONDS at most."""
    poll = select.poll()
    left = 0
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):  # gone already
            signal.pidfd_send_signal(pidfd, number)
            poll.register(pidfd, select.POLLIN)
            left += 1
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left and (ready := poll.poll(max(0.0, deadline - time.monotonic()) * 1000)):
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            left -= 1
