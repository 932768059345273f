"""Runs one installer, confined as a worker is, and ends all of it whatever happens.

A process of its own, because confinement needs one thread to fork from, and
because it must end the installer also when the server is killed. It is started
isolated (`-I`) with an empty environment. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, NoReturn, Protocol

from lib.environments.gateway import InstallerGateway
from lib.environments.wire import MAX_LINE_BYTES, InstallExit, InstallRequest
from lib.sandbox import identity, privileges, process_tree, rlimits
from lib.sandbox.confinement import ConfinementError, Enclosure, Layers, Tenant
from lib.sandbox.folder_size import FolderSize
from lib.sandbox.gateway import listeners_for
from lib.sandbox.host_view import HostView
from lib.sandbox.init_process import (
    FAILED,
    KILLED,
    NOT_CONFINED,
    InitProcess,
    Order,
    shell_code,
)
from lib.sandbox.probe import probe
from lib.sandbox.rlimits import Ceilings
from lib.sandbox.worker_process import connect_streams, reset_signals

TICK_SECONDS: Final = 0.5
FIRST_UID_AFTER_RUNS: Final = identity.UID_COUNT
UID_COUNT: Final = 64
MAX_TASKS: Final = 512
XFSZ_CODE: Final = 128 + signal.SIGXFSZ  # one file was to become larger than all may be


def main() -> NoReturn:
    """Serve the one request on standard input, and end."""
    os.setsid()  # a Ctrl-C in the server's terminal is the server's
    process_tree.adopt_orphans()
    privileges.set_dumpable(dumpable=False)  # the request may hold a password
    rlimits.raise_own()
    try:
        ended = Supervisor(InstallRequest.read(sys.stdin.buffer)).run()
    except (ConfinementError, OSError, EOFError, identity.NoUidLeft) as error:
        ended = InstallExit(problem=str(error))
    process_tree.end_below(os.getpid())
    _say({"exit": asdict(ended)})
    os._exit(0)


class _Installer(Protocol):
    """A started installer.

    Attributes:
        pid: Of what ends all of it when it is killed, as far as the host allows.
        ends: Descriptor that is readable when it has ended.
    """

    pid: int
    ends: int

    def exit_code(self) -> int:
        """Wait for its end, and return its code as a shell reports it."""
        ...


class _Plain:
    """A process of the host's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ends = os.pidfd_open(pid)

    def exit_code(self) -> int:
        return shell_code(os.waitpid(self.pid, 0)[1])


class _Confined:
    """A process that init looks after."""

    def __init__(self, init: InitProcess) -> None:
        self._init = init
        self.pid = init.pid
        self.ends = init.line.fileno()

    def exit_code(self) -> int:
        ended = self._init.ended()
        return KILLED if ended is None else ended.exit_code


class Supervisor:
    """One installer, from its start to its end."""

    def __init__(self, request: InstallRequest) -> None:
        self._request = request
        self._partial = b""
        self._gateway: InstallerGateway | None = None  # an unconfined one has the host's network
        self._size = FolderSize(os.open(request.folder, os.O_RDONLY | os.O_DIRECTORY))
        os.set_inheritable(request.lock, False)

    def run(self) -> InstallExit:
        """Start it, wait for it, say how it ended. Nothing of it is left then."""
        request = self._request
        found = self._find_enclosure()
        if found is None and request.runs_foreign_code and request.isolation != "off":
            return InstallExit(
                problem="exec.source_builds runs the code of packages, and this host cannot "
                "confine that with a network of its own (FLOOM_SANDBOX=off builds without)"
            )
        output, output_end = os.pipe()
        if found is None:
            _tell("The installer is not confined: this host or FLOOM_SANDBOX does without.")
            pid = self._start_plainly(output_end)
        else:
            pid = self._start_confined(*found, output_end)
        os.close(output_end)
        return self._watch(pid, output)

    def _find_enclosure(self) -> tuple[Enclosure, Tenant] | None:
        """Return where the installer is put, and as whom; None where it cannot be."""
        request = self._request
        if request.isolation == "off":
            return None
        first_uid = identity.default_first_uid() + FIRST_UID_AFTER_RUNS
        layers = self._find_layers(first_uid)
        if layers is None:
            return None
        private = Path(request.private_folder)
        (private / "stage").mkdir(mode=0o700, parents=True, exist_ok=True)
        enclosure = Enclosure(
            layers=layers,
            view=HostView.find(request.runtimes),
            stage=str(private / "stage"),
            home=request.folder,  # the same path, for what the installer writes down
            hidden=request.hidden,
        )
        uid = None
        if layers.uid:
            uid = _lease_uid(identity.lock_folder(private / "uids"), first_uid)
            identity.give(request.folder, uid, uid)
        return enclosure, Tenant(
            work=request.folder,
            ceilings=self._ceilings(layers),
            readable=request.readable,
            uid=uid,
        )

    def _find_layers(self, first_uid: int) -> Layers | None:
        found = probe([self._request.command[0], self._request.folder], first_uid)
        return found.layers if found.is_whole and found.layers.network else None

    def _ceilings(self, layers: Layers) -> Ceilings:
        counts_alone = layers.uid or layers.user_namespace
        return Ceilings(
            memory_bytes=self._request.memory_bytes,
            file_bytes=self._request.disk_bytes,
            tasks=MAX_TASKS if counts_alone else None,
        )

    def _start_confined(self, enclosure: Enclosure, tenant: Tenant, output: int) -> _Installer:
        """Have init fork it, with a proxy as the only way out of where it is."""
        self._gateway = gateway = InstallerGateway.beside(self._request, enclosure.layers)
        enclosure.get_ready()
        init = InitProcess.fork(enclosure)
        if isinstance(init, Order):
            self._become_installer(enclosure, tenant, init)
        failure, failure_end = os.pipe()
        order = Order(
            os.dup(output),
            os.dup(output),
            failure_end,
            channel=None,  # all that it needs to know it has inherited
            listeners=gateway.take_child_end(),
            uid=tenant.uid,
            group=None,
        )
        try:
            order.send(init.line)
        finally:
            order.close()
        with os.fdopen(failure, errors="replace") as file:
            reason = file.read()
        if reason:
            raise OSError(reason[len(NOT_CONFINED) :])
        gateway.open(has_egress=True)
        return _Confined(init)

    def _become_installer(self, enclosure: Enclosure, tenant: Tenant, order: Order) -> NoReturn:
        try:
            connect_streams(order.stdout, order.stderr)
            listeners = listeners_for(order.listeners)
            shell = enclosure.build(uid=tenant.uid, listeners=listeners)
            enclosure.admit(replace(tenant, keep=(order.failure,)), shell)
            self._execute({**self._request.environment, **self._variables()})
        except BaseException as error:  # noqa: BLE001 - the pipe is the only way to tell
            order.refuse(NOT_CONFINED, str(error) or type(error).__name__)
        finally:
            os._exit(FAILED)

    def _variables(self) -> dict[str, str]:
        return {} if self._gateway is None else self._gateway.variables()

    def _start_plainly(self, output: int) -> _Installer:
        pid = os.fork()
        if pid == 0:
            try:
                privileges.die_with_parent(signal.SIGKILL)
                os.setsid()
                connect_streams(output, output)
                os.chdir(self._request.folder)
                proxies = self._request.proxies
                named = {f"{name}_proxy": value for name, value in proxies.items()}
                self._execute({**self._request.environment, **named})
            except OSError as error:
                os.write(2, f"{error}\n".encode())
            finally:
                os._exit(FAILED)
        return _Plain(pid)

    def _execute(self, environment: dict[str, str]) -> NoReturn:
        os.umask(0o022)
        reset_signals()
        command = self._request.command
        os.execve(command[0], command, environment)  # noqa: S606

    def _watch(self, installer: _Installer, output: int) -> InstallExit:
        """Pass output on until the installer's first process has ended, or must."""
        deadline = time.monotonic() + self._request.timeout_seconds
        poll = select.poll()
        for descriptor in (0, output, installer.ends):
            poll.register(descriptor, select.POLLIN)
        if self._gateway is not None:
            self._gateway.watch(poll)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(TICK_SECONDS * 1000)}
            self._attend(poll, ready)
            if output in ready and not self._pass_on(output):
                poll.unregister(output)
            reason = self._reason_to_end(cancelled=0 in ready, deadline=deadline)
            if reason or installer.ends in ready:
                break
        if reason:
            process_tree.signal_all([installer.pid], signal.SIGKILL)
        code = installer.exit_code()
        process_tree.end_below(os.getpid())
        self._drain(output)
        self._drain_refusals(poll)
        return InstallExit(code, reason or self._judge_once_more(code))

    def _reason_to_end(self, *, cancelled: bool, deadline: float) -> str | None:
        if cancelled:
            return "cancel"
        if time.monotonic() > deadline:
            return "timeout"
        if self._size.due() and self._size.measure() > self._request.disk_bytes:
            return "disk"
        return None

    def _judge_once_more(self, code: int) -> str | None:
        """A quick installer may be over its limit, or ended by it, between two looks.

        One that failed has said why, unless it was killed.
        """
        if code == XFSZ_CODE:
            return "disk"
        has_said_why = code not in (0, KILLED)
        is_over = not has_said_why and self._size.measure() > self._request.disk_bytes
        return "disk" if is_over else None

    def _pass_on(self, output: int) -> bool:
        """Read once and say what is whole; False at the end."""
        data = os.read(output, 65536)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data or len(self._partial) > MAX_LINE_BYTES:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            if line.strip():
                _tell(line[:MAX_LINE_BYTES].decode(errors="replace").rstrip())
        return bool(data)

    def _drain(self, output: int) -> None:
        """Take what is left; nobody can write to it any more."""
        os.set_blocking(output, False)
        with contextlib.suppress(BlockingIOError):
            while self._pass_on(output):
                pass

    def _attend(self, poll: select.poll, ready: set[int]) -> None:
        """Open the gate to who comes, and say what it refused."""
        if self._gateway is not None:
            self._gateway.attend(poll, ready)
            self._tell_refusals(self._gateway, poll, ready)

    def _drain_refusals(self, poll: select.poll) -> None:
        """Say what is left; the gate has ended with the rest."""
        if self._gateway is None:
            return
        while self._tell_refusals(self._gateway, poll, {ready for ready, _ in poll.poll(0)}):
            pass

    def _tell_refusals(self, gateway: InstallerGateway, poll: select.poll, ready: set[int]) -> bool:
        """Say what the gate refused since the last time; False: nothing."""
        lines = gateway.notices(poll, ready)
        for line in lines:
            _tell(line)
        return bool(lines)


def _lease_uid(folder: Path, first: int) -> int:
    """Take an id that is kept until this process ends, after all that used it."""
    lease = identity.UidRange(folder, first, UID_COUNT).lease()
    return lease.uid


def _tell(line: str) -> None:
    _say({"line": line})


def _say(value: dict[str, object]) -> None:
    """Write one answer; a server that is gone does not mind."""
    with contextlib.suppress(OSError):
        data = json.dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(1, data) :]
