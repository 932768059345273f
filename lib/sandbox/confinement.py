"""Confining a worker: all layers, in the one order in which they hold.

    supervisor          pid = confinement.fork()
        child               confinement.enter()
            ids of the user namespace, loopback, new root, limits, uid,
            capabilities, no_new_privs, Landlock, seccomp
            worker              enter() returns here, confined, in `home`
        (the child stays as pid 1 of the pid namespace, see `init_process`)

Each step needs what the next one takes away: mounts need privileges, Landlock
and seccomp need `no_new_privs`, Landlock's paths are those after the pivot, and
nothing can be set up once seccomp is on.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from lib.sandbox import (
    init_process,
    landlock,
    loopback,
    namespaces,
    privileges,
    rlimits,
    seccomp,
)
from lib.sandbox.host_view import HostView, is_below
from lib.sandbox.new_root import NewRoot
from lib.sandbox.rlimits import Ceilings

_ALL_DESCRIPTORS: Final = 1 << 20  # more than any limit in use

# Of a host's /proc, which shows every process, only what programs size
# themselves by, and the worker's own folder.
_PROC_FACTS: Final = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/filesystems",
)


class ConfinementError(Exception):
    """A layer could not be applied; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which mechanisms to use: those that the probe found to work here.

    Attributes:
        user_namespace: Without root, what all other namespaces need.
        root: A mount namespace with a root folder of the run's own.
        proc: A `/proc` of its own in it; a container may forbid that alone.
        uid: An unprivileged user id of the run's own, from root.
        landlock: The ABI to use; 0: none.
    """

    user_namespace: bool = False
    network: bool = False
    ipc: bool = False
    pids: bool = False
    root: bool = False
    proc: bool = False
    uid: bool = False
    no_new_privs: bool = True
    landlock: int = 0
    seccomp: bool = False

    @property
    def namespaces(self) -> int:
        """The namespaces to make, as clone(2) wants them."""
        wanted = (
            (self.user_namespace, namespaces.USERS),
            (self.network, namespaces.NETWORK),
            (self.ipc, namespaces.IPC),
            (self.pids, namespaces.PIDS),
            (self.root, namespaces.MOUNTS),
        )
        return sum(flag for is_wanted, flag in wanted if is_wanted)

    @property
    def confines_sockets(self) -> bool:
        """Whether a TCP socket could reach no more than it may."""
        return self.network or self.landlock >= landlock.NETWORK_ABI

    def filter_program(self) -> bytes:
        """Return the seccomp program; made at the first call, so call it before forking."""
        return filter_program(
            sockets="stream" if self.confines_sockets else "none",
            shares_uid=not (self.uid or (self.root and self.pids)),
        )


@dataclass(frozen=True, slots=True)
class Listeners:
    """Ports to listen on inside the run's network namespace.

    Attributes:
        ports: In the order in which the sockets arrive.
        channel: Descriptor of one end of a pair of Unix sockets; the other end's
            holder calls `loopback.receive_listeners`.
    """

    ports: tuple[int, ...]
    channel: int


@dataclass(frozen=True, slots=True)
class Confinement:
    """Everything about one worker's confinement.

    Attributes:
        work: The run's folder on the host, its real path; the worker owns it.
        view: What every worker may read.
        environment: Further paths to read, this worker's own.
        home: Where the worker sees its folder; None: at the same path.
        hidden: Folders of the host that must not be seen even if they lie below
            a readable path.
        uid: User and group to become, when `layers.uid`.
        connect_ports: Ports that may be connected to where only Landlock
            restricts the network.
        listeners: Where there is a network namespace.
        keep: Descriptors that stay open besides 0, 1 and 2.
        owner: User and group of the supervisor, which a user namespace maps; a
            child that is in it already cannot see them.
    """

    layers: Layers
    work: str
    view: HostView
    ceilings: Ceilings
    environment: tuple[str, ...] = ()
    home: str | None = None
    hidden: tuple[str, ...] = ()
    uid: int | None = None
    connect_ports: tuple[int, ...] = ()
    listeners: Listeners | None = None
    keep: tuple[int, ...] = ()
    owner: tuple[int, int] = field(default_factory=lambda: (os.geteuid(), os.getegid()))

    def fork(self) -> int:
        """Fork, the child being in the namespaces of its own. Like `os.fork`.

        Raises:
            ConfinementError: the kernel refused the namespaces.
        """
        with _step("namespaces"):
            return namespaces.fork(self.layers.namespaces)

    def enter(self) -> None:
        """Confine this process, the child of `fork`. It must have one thread.

        Returns in the worker's process, whose standard streams are this one's.
        With a pid namespace that is a child of this process, which ends with
        the worker's exit code and never returns.

        Raises:
            ConfinementError: a layer could not be applied; the process must end.
        """
        for name, apply in self._steps():
            with _step(name):
                apply()
        if self.layers.pids:
            self._leave_pid_1()
        os.setsid()  # not the session that pid 1 leads
        self._close_descriptors()

    def _steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        layers = self.layers
        yield "signals", _detach_signals
        if layers.user_namespace:
            yield "user namespace", self._map_ids
        if layers.network:
            yield "network namespace", self._open_network
        yield "folder", self._change_root if layers.root else self._change_folder
        yield "limits", functools.partial(rlimits.apply, self.ceilings)
        yield "privileges", self._drop_privileges
        if layers.landlock:
            yield "Landlock", self._restrict
        if layers.seccomp:
            yield "seccomp", self._filter

    def _map_ids(self) -> None:
        privileges.set_dumpable(dumpable=True)
        namespaces.map_ids(*self.owner)

    def _open_network(self) -> None:
        loopback.bring_up()
        if self.listeners is not None:
            loopback.hand_over_listeners(self.listeners.ports, self.listeners.channel)

    def _change_root(self) -> None:
        NewRoot(
            view=self.view,
            environment=self.environment,
            work=self.work,
            home=self._home,
            hidden=self.hidden,
            user=self._inner_id,
            group=self._inner_id,
            scratch_bytes=self.ceilings.scratch_bytes,
            shows_processes=self.layers.proc,
        ).enter()

    def _change_folder(self) -> None:
        os.chdir(self.work)

    @property
    def _home(self) -> str:
        return self.home or self.work

    @property
    def _inner_id(self) -> int:
        if self.layers.uid and self.uid is not None:
            return self.uid
        return namespaces.INNER_ID if self.layers.user_namespace else os.geteuid()

    def _drop_privileges(self) -> None:
        privileges.lock_capabilities()
        if self.layers.uid:
            if self.uid is None:
                raise OSError("no user id was given")
            privileges.become(self.uid, self.uid)
        privileges.drop_capabilities()
        if self.layers.no_new_privs:
            privileges.refuse_new_privileges()
        # Both were forgotten with the uid. Dumpable: programs read their own
        # /proc/self, exec sets it again anyway, and who else could look is
        # kept out by the namespace, by Landlock or by the uid.
        privileges.set_dumpable(dumpable=True)
        privileges.die_with_parent(signal.SIGKILL)

    def _restrict(self) -> None:
        layers = self.layers
        ports = None if layers.network else self.connect_ports
        rules = self._rules_in_new_root() if layers.root else self._rules_on_host()
        landlock.restrict(layers.landlock, rules, connect_ports=ports)

    def _rules_in_new_root(self) -> Iterator[landlock.Rule]:
        """All that is there may be read; a root that was left is not below this one."""
        yield landlock.Rule("/", landlock.READ)
        for path in (self._home, "/tmp", "/dev/shm"):  # noqa: S108 - private mounts
            yield landlock.Rule(path, landlock.OWN)
        yield from self._device_rules()

    def _rules_on_host(self) -> Iterator[landlock.Rule]:
        for path in (*self.view.readable, *self.environment):
            if any(is_below(each, path) for each in self.hidden):
                # Rules add up: what lies below a readable folder is readable.
                raise OSError(f"{path} holds folders that must be hidden")
            yield landlock.Rule(path, landlock.READ)
        # "self" is this process, the worker, as the link says now; its children's
        # folders stay closed to it.
        for path in _existing_proc_facts():
            yield landlock.Rule(path, landlock.LOOK)
        yield landlock.Rule(self.work, landlock.OWN)
        yield from self._device_rules()

    def _device_rules(self) -> Iterator[landlock.Rule]:
        for name in self.view.devices:
            yield landlock.Rule(f"/dev/{name}", landlock.USE_DEVICE)

    def _filter(self) -> None:
        seccomp.install(self.layers.filter_program())

    def _leave_pid_1(self) -> None:
        """Fork the worker, and stay behind as its init."""
        signal.pthread_sigmask(signal.SIG_BLOCK, init_process.SIGNALS)
        with _step("first process"):
            worker = os.fork()
        if worker:
            init_process.serve(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, init_process.SIGNALS)

    def _close_descriptors(self) -> None:
        """Close all but what is kept: an open folder outside would be a way out."""
        low = 3
        for kept in sorted(self.keep):
            os.closerange(low, kept)
            low = max(low, kept + 1)
        os.closerange(low, _ALL_DESCRIPTORS)


@functools.cache
def filter_program(*, sockets: seccomp.Sockets, shares_uid: bool) -> bytes:
    """Return the seccomp program, made once."""
    return seccomp.build(sockets, shares_uid=shares_uid)


@functools.cache
def _existing_proc_facts() -> tuple[str, ...]:
    return tuple(path for path in _PROC_FACTS if os.path.exists(path))  # noqa: PTH110


def _detach_signals() -> None:
    """Or a signal here would be written to the supervisor's own pipe."""
    signal.set_wakeup_fd(-1)


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfinementError(f"{name}: {error}") from error
