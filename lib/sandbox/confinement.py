"""Confining a worker: all layers, in the one order in which they hold.

    supervisor          enclosure.fork_init()
        init                enclosure.enter()
                            enclosure.fork_worker()     for one run after another
            worker              enclosure.build()       what all runs have in common
                                ... waits until there is a run ...
                                enclosure.admit(tenant)
            own folders, limits, uid, capabilities, no_new_privs, Landlock, seccomp
                                ... waits for the word to begin ...

Init, see `init_process`, is the first process of the user and pid namespaces, and sees
the host's folders in a mount namespace of its own; all other namespaces are each run's.

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
    descriptors,
    landlock,
    loopback,
    namespaces,
    privileges,
    rlimits,
    seccomp,
)
from lib.sandbox.host_view import HostView, around
from lib.sandbox.landlock import Rule, Ruleset
from lib.sandbox.new_root import NewRoot, Passage
from lib.sandbox.rlimits import Ceilings

HOME: Final = "/worker"  # no host has such a folder, so it hides none
SCRATCH_BYTES: Final = 64 * 1024 * 1024

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
    def namespaces_of_init(self) -> int:
        """The namespaces that runs use one after the other, as clone(2) wants them."""
        return _flags(
            (self.user_namespace, namespaces.USERS),
            (self.pids, namespaces.PIDS),
            (self.root, namespaces.MOUNTS),  # with the host's folders, to look into and come back
        )

    @property
    def namespaces_of_worker(self) -> int:
        """The namespaces that each run is born in; its mounts it makes itself, see `NewRoot`."""
        return _flags((self.network, namespaces.NETWORK), (self.ipc, namespaces.IPC))

    def filter_program(self) -> bytes:
        """Return the seccomp program; made at the first call, so call it before forking."""
        return filter_program(
            # Landlock's rules name ports, not hosts: without a network of its own
            # a worker with one socket could talk to anybody.
            sockets="stream" if self.network else "none",
            shares_uid=not self.uid,
            shares_files=not (self.uid or (self.root and self.pids)),
        )


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one run brings.

    Attributes:
        work: The run's folder on the host, its real path; the worker owns it.
        readable: Paths to read that other runs may not, such as its packages.
        uid: User and group to become, when `Layers.uid`.
        keep: Descriptors that stay open besides 0, 1 and 2.
    """

    work: str
    ceilings: Ceilings
    readable: tuple[str, ...] = ()
    uid: int | None = None
    keep: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shell:
    """What `Enclosure.build` made around a process, for `Enclosure.admit`.

    Attributes:
        passage: Into the new root, where there is one.
        ruleset: Landlock's rules so far.
    """

    passage: Passage | None
    ruleset: Ruleset | None


@dataclass(frozen=True, slots=True)
class Enclosure:
    """The place that a worker is put into: the same for all runs of a server.

    Attributes:
        view: What every worker may read.
        stage: A folder of the host to build the new root on.
        home: Where workers see their folder, in a root of their own.
        hidden: Folders of the host that must not be seen even if they lie below
            a readable path.
        scratch_bytes: Of `/tmp` and of `/dev/shm`, each, where they are private.
        owner: User and group of the supervisor, which a user namespace maps; a
            child that is in it already cannot see them.
    """

    layers: Layers
    view: HostView
    stage: str
    home: str = HOME
    hidden: tuple[str, ...] = ()
    scratch_bytes: int = SCRATCH_BYTES
    owner: tuple[int, int] = field(default_factory=lambda: (os.geteuid(), os.getegid()))

    def fork_init(self) -> int:
        """Fork init, in the namespaces that are its own. Like `os.fork`.

        Raises:
            ConfinementError: the kernel refused the namespaces.
        """
        with _step("namespaces"):
            return namespaces.fork(self.layers.namespaces_of_init)

    def enter(self) -> None:
        """Set up, in init, what workers inherit: ids, and no way back to what they lose.

        Raises:
            ConfinementError: a layer could not be had.
        """
        layers = self.layers
        if layers.user_namespace:
            with _step("user namespace"):
                self._map_ids()
        if layers.root:
            with _step("mount namespace"):
                namespaces.follow_mounts()
        privileges.set_dumpable(dumpable=False)  # no worker has any business in this memory
        if layers.no_new_privs:
            with _step("privileges"):
                privileges.lock_capabilities()

    def fork_worker(self, group: int | None = None) -> int:
        """Fork, from init, what is to be a worker, in namespaces of its own. Like `os.fork`.

        Args:
            group: See `namespaces.fork`.

        Raises:
            ConfinementError: the kernel refused.
        """
        with _step("namespaces"):
            return namespaces.fork(self.layers.namespaces_of_worker, group)

    def build(self, *, uid: int | None, listeners: loopback.WantedListeners | None = None) -> Shell:
        """Set up, in the child of `fork_worker`, all that does not depend on the run.

        Args:
            uid: As of the tenant to come.
            listeners: What to listen on where there is a network namespace.

        Raises:
            ConfinementError: a layer could not be had; the process must end.
        """
        layers = self.layers
        passage: Passage | None = None
        if layers.network:
            with _step("network namespace"):
                self._open_network(listeners)
        if layers.root:
            with _step("root folder"):
                user = self._inner_id(uid)
                passage = self._new_root().lay_out(user, user)
        ruleset = self._prepare_rules() if layers.landlock else None
        namespaces.renew_interpreter()
        return Shell(passage, ruleset)

    def admit(self, tenant: Tenant, shell: Shell) -> None:
        """Confine this process, in which `build` returned. It must have one thread.

        Args:
            tenant: Who comes.
            shell: What `build` returned.

        Raises:
            ConfinementError: a layer could not be applied; the process must end.
        """
        for name, apply in self._steps(tenant, shell):
            with _step(name):
                apply(tenant)
        os.setsid()  # not the supervisor's session
        descriptors.close_all_but(tenant.keep)  # an open folder outside would be a way out

    def get_ready(self) -> None:
        """Compute, before any fork, what would be computed in each child."""
        seccomp.prepare(self.layers.filter_program())
        if not self.layers.root:
            _visible(self.view.readable, self.hidden)

    def home_of(self, work: str) -> str:
        """Return where a worker sees its folder."""
        return self.home if self.layers.root else work

    def _steps(
        self, tenant: Tenant, shell: Shell
    ) -> Iterator[tuple[str, Callable[[Tenant], None]]]:
        layers = self.layers
        if layers.uid and tenant.uid is None:
            raise ConfinementError("privileges: no user id was given")
        if (passage := shell.passage) is not None:
            yield "folder", lambda tenant: self._move_in(passage, tenant)
        else:
            yield "folder", _change_folder
        yield "limits", lambda tenant: rlimits.apply(tenant.ceilings)
        yield "privileges", self._drop_privileges
        if (ruleset := shell.ruleset) is not None:
            yield "Landlock", lambda tenant: self._restrict(tenant, ruleset)
        if layers.seccomp:
            yield "seccomp", lambda _: seccomp.install(layers.filter_program())

    def _map_ids(self) -> None:
        privileges.set_dumpable(dumpable=True)
        namespaces.map_ids(*self.owner)

    def _open_network(self, listeners: loopback.WantedListeners | None) -> None:
        loopback.bring_up()
        if listeners is not None:
            loopback.hand_over_listeners(listeners)

    def _new_root(self) -> NewRoot:
        return NewRoot(
            view=self.view,
            stage=self.stage,
            home=self.home,
            hidden=self.hidden,
            scratch_bytes=self.scratch_bytes,
            shows_processes=self.layers.proc,
        )

    def _move_in(self, passage: Passage, tenant: Tenant) -> None:
        self._new_root().move_in(passage, tenant.work, tenant.readable)

    def _inner_id(self, uid: int | None) -> int:
        if self.layers.uid and uid is not None:
            return uid
        return namespaces.INNER_ID if self.layers.user_namespace else os.geteuid()

    def _give_up_rights(self, uid: int | None) -> None:
        """Become the worker's user, if it has one of its own, with no rights beyond its files.

        Raises:
            OSError: the kernel refused.
        """
        if self.layers.uid and uid is not None:
            privileges.become(uid, uid)
        if self.layers.no_new_privs:
            privileges.drop_capabilities()
            privileges.refuse_new_privileges()

    def _drop_privileges(self, tenant: Tenant) -> None:
        self._give_up_rights(tenant.uid)
        # Both were forgotten with the uid. Dumpable: programs read their own
        # /proc/self, exec sets it again anyway, and who else could look is
        # kept out by the namespace, by Landlock or by the uid.
        privileges.set_dumpable(dumpable=True)
        privileges.die_with_parent(signal.SIGKILL)

    def _prepare_rules(self) -> Ruleset:
        """Return the rules that are the same for all runs; raises ConfinementError."""
        layers = self.layers
        with _step("Landlock"):
            ruleset = Ruleset(layers.landlock, denies_network=not layers.network)
            ruleset.allow(self._rules_in_new_root() if layers.root else self._rules_on_host())
            ruleset.allow(self._device_rules())
        return ruleset

    def _restrict(self, tenant: Tenant, ruleset: Ruleset) -> None:
        if self.layers.root:
            own = Rule(self.home, landlock.OWN)
        else:
            own = Rule(tenant.work, landlock.OWN)
            ruleset.allow(Rule(path, landlock.READ) for path in tenant.readable)
        with ruleset:
            ruleset.allow([own])
            ruleset.restrict()

    def _rules_in_new_root(self) -> Iterator[Rule]:
        """All that is there may be read: the new root is laid out, and the working folder."""
        yield Rule(".", landlock.READ)
        for path in ("tmp", "dev/shm"):
            yield Rule(path, landlock.OWN)

    def _rules_on_host(self) -> Iterator[Rule]:
        for path in _visible(self.view.readable, self.hidden):
            yield Rule(path, landlock.READ)
        # "self" is this process, the worker, as the link says now; its children's
        # folders stay closed to it.
        for path in _existing_proc_facts():
            yield Rule(path, landlock.LOOK)

    def _device_rules(self) -> Iterator[Rule]:
        dev = "dev" if self.layers.root else "/dev"
        for name in self.view.devices:
            yield Rule(f"{dev}/{name}", landlock.USE_DEVICE)


def _flags(*wanted: tuple[bool, int]) -> int:
    return sum(flag for is_wanted, flag in wanted if is_wanted)


def _change_folder(tenant: Tenant) -> None:
    os.chdir(tenant.work)


@functools.cache
def filter_program(*, sockets: seccomp.Sockets, shares_uid: bool, shares_files: bool) -> bytes:
    """Return the seccomp program, made once."""
    return seccomp.build(sockets, shares_uid=shares_uid, shares_files=shares_files)


@functools.cache
def _visible(readable: tuple[str, ...], hidden: tuple[str, ...]) -> tuple[str, ...]:
    """Rules add up: all below a readable folder is readable, so it must hold nothing hidden."""
    return around(readable, hidden)


@functools.cache
def _existing_proc_facts() -> tuple[str, ...]:
    return tuple(path for path in _PROC_FACTS if os.path.exists(path))  # noqa: PTH110


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfinementError(f"{name}: {error}") from error
