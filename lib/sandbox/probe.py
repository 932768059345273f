"""What this host lets a sandbox do: each mechanism tried, in a child that may fail.

Nothing is concluded from versions or configuration: a container's profile, a
hardened kernel or a security module may refuse what the kernel has.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lib.sandbox import identity, landlock, loopback, namespaces, privileges, seccomp, syscalls
from lib.sandbox.cgroup import Groups
from lib.sandbox.confinement import HOME, Layers, filter_program
from lib.sandbox.host_view import HostView
from lib.sandbox.new_root import NewRoot

NONE: Final = "none"
TRIAL_SECONDS: Final = 5.0  # a child that takes longer counts as refused

_OK: Final = ""

# Name of a mechanism: "" if it works, else why not.
Facts = dict[str, str]
Trial = Callable[["_Notes"], None]


@dataclass(frozen=True)
class Probe:
    """What holds here.

    Attributes:
        files, network, processes, privileges, limits: The mechanism that holds
            each property, or `none`.
        facts: Each mechanism tried: "" if it works, else the reason, such as
            `EPERM: unshare: Operation not permitted`.
        layers: What to confine workers with.
        groups: Where control groups can be made.
    """

    files: str
    network: str
    processes: str
    privileges: str
    limits: str
    facts: Facts
    layers: Layers
    groups: Groups | None

    @property
    def is_whole(self) -> bool:
        """Whether all five properties are held."""
        return NONE not in self.properties().values()

    def properties(self) -> dict[str, str]:
        """Return the mechanism that holds each property."""
        return {
            "files": self.files,
            "network": self.network,
            "processes": self.processes,
            "privileges": self.privileges,
            "limits": self.limits,
        }

    def summary(self) -> dict[str, dict[str, str]]:
        """Return what a report says of it, as JSON has it."""
        return {"properties": self.properties(), "facts": self.facts}


def probe(needed_paths: Sequence[str] = (), first_uid: int | None = None) -> Probe:
    """Try everything; never raises. It takes about 10 ms and forks twice.

    Args:
        needed_paths: What a worker must reach under another uid where there are
            no mounts: interpreters, and the folder that runs are in.
        first_uid: One of the ids for runs; None: the default range's first.
    """
    facts: Facts = {}
    groups: Groups | None = None
    try:
        uid = identity.default_first_uid() if first_uid is None else first_uid
        trials = [_start(_try_namespaces), _start(lambda notes: _try_restrictions(notes, uid))]
        groups = _try_groups(facts)
        for trial in trials:
            facts |= trial()
        facts["reach"] = _try_reach(needed_paths)
    except Exception as error:  # noqa: BLE001 - a host that cannot be probed isolates nothing
        facts["probe"] = _reason(error)
    return conclude(facts, groups)


def conclude(facts: Facts, groups: Groups | None) -> Probe:
    """Say what holds each property, given what works."""
    layers = _layers(facts)
    return Probe(
        files=_files(layers),
        network=_network(layers),
        processes=_processes(layers),
        privileges=_privileges(layers),
        limits="rlimits + cgroup" if groups else "rlimits",
        facts=facts,
        layers=layers,
        groups=groups,
    )


class _Notes:
    """Collects facts in a child, and sends each at once: it may not live to the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def attempt(self, name: str, action: Callable[[], object]) -> bool:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, it does not work
            return self.write(name, _reason(error))
        return self.write(name, _OK)

    def write(self, name: str, reason: str) -> bool:
        os.write(self._descriptor, json.dumps([name, reason]).encode() + b"\n")
        return reason == _OK


def _start(trial: Trial) -> Callable[[], Facts]:
    """Run a trial in a child; return a function that waits for its facts."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            trial(_Notes(write_end))
        os._exit(0)
    os.close(write_end)
    return lambda: _collect(pid, read_end)


def _collect(pid: int, read_end: int) -> Facts:
    deadline = time.monotonic() + TRIAL_SECONDS
    data = b""
    try:
        while select.select([read_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(read_end, 65536)
            if not part:
                break
            data += part
    finally:
        os.close(read_end)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return dict(json.loads(line) for line in data.splitlines())


def _try_namespaces(notes: _Notes) -> None:
    """One after the other, for each needs the privileges that the first may give."""
    if os.geteuid() != 0:
        if not notes.attempt("user namespace", _enter_user_namespace):
            return
    else:
        notes.write("user namespace", "not needed: root")
    notes.attempt("network namespace", _enter_network_namespace)
    notes.attempt("ipc namespace", lambda: _unshare(namespaces.IPC))
    has_pids = notes.attempt("pid namespace", lambda: _unshare(namespaces.PIDS))
    if not notes.attempt("mount namespace", namespaces.leave_mounts):
        return
    child = os.fork()  # the first process of the pid namespace
    if child == 0:
        with contextlib.suppress(BaseException):
            has_proc = has_pids and notes.attempt("proc", _mount_proc)
            notes.attempt("new root", lambda: _enter_new_root(shows_processes=has_proc))
        os._exit(0)
    os.waitpid(child, 0)


def _enter_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    privileges.set_dumpable(dumpable=True)
    _unshare(namespaces.USERS)
    namespaces.map_ids(user, group)


def _enter_network_namespace() -> None:
    _unshare(namespaces.NETWORK)
    loopback.bring_up()


def _mount_proc() -> None:
    syscalls.call("mount", b"proc", b"/proc", b"proc", 0, None)


def _enter_new_root(*, shows_processes: bool) -> None:
    root = NewRoot(
        view=HostView.find(),
        stage="/usr",  # any folder that is there
        home=HOME,
        hidden=(),
        scratch_bytes=1 << 20,
        shows_processes=shows_processes,
    )
    passage = root.lay_out(os.geteuid(), os.getegid())
    root.move_in(passage, "/etc", ())
    if os.path.exists("/etc/shadow"):  # noqa: PTH110
        raise OSError(errno.EEXIST, "the host's files are still there")


def _unshare(flag: int) -> None:
    syscalls.call("unshare", flag)


def _try_restrictions(notes: _Notes, uid: int) -> None:
    if os.geteuid() == 0:
        notes.attempt("uid", lambda: privileges.become(uid, uid))
    else:
        notes.write("uid", "not root")
    notes.attempt("no_new_privs", privileges.refuse_new_privileges)
    if notes.attempt("Landlock", _try_landlock):
        notes.write(f"Landlock ABI {landlock.abi()}", _OK)
    notes.attempt("seccomp", _try_seccomp)


def _try_landlock() -> None:
    with landlock.Ruleset(landlock.abi(), denies_network=True) as ruleset:
        ruleset.allow([landlock.Rule("/usr", landlock.READ)])
        ruleset.restrict()
    try:
        os.listdir("/")  # noqa: PTH208
    except PermissionError:
        return
    raise OSError(errno.EOPNOTSUPP, "it is accepted, and holds nothing")


def _try_seccomp() -> None:
    seccomp.install(filter_program(sockets="none", shares_uid=False, shares_files=False))
    try:
        _unshare(0)  # does nothing, and is allowed otherwise
    except PermissionError:
        return
    raise OSError(errno.EOPNOTSUPP, "it is accepted, and holds nothing")


def _try_groups(facts: Facts) -> Groups | None:
    groups = None
    try:
        groups = Groups.find()
        facts["cgroup"] = _OK if groups else "no group of ours may be divided"
    except Exception as error:  # noqa: BLE001 - see `probe`
        facts["cgroup"] = _reason(error)
    return groups


def _try_reach(paths: Sequence[str]) -> str:
    barrier = identity.unreachable(paths)
    return f"{barrier} is closed to other users" if barrier else _OK


def _layers(facts: Facts) -> Layers:
    def works(name: str) -> bool:
        return facts.get(name) == _OK

    has_root = works("new root")
    layers = Layers(
        user_namespace=works("user namespace"),
        network=works("network namespace"),
        ipc=works("ipc namespace"),
        pids=works("pid namespace"),
        root=has_root,
        proc=has_root and works("proc"),
        # Under another uid the interpreter must still be there.
        uid=works("uid") and (has_root or works("reach")),
        no_new_privs=works("no_new_privs"),
        landlock=_abi(facts) if works("no_new_privs") else 0,
        seccomp=works("no_new_privs") and works("seccomp"),
    )
    # A user namespace alone gives nothing, and makes more of the kernel reachable.
    is_used = layers.network or layers.ipc or layers.pids or layers.root
    return replace(layers, user_namespace=layers.user_namespace and is_used)


def _abi(facts: Facts) -> int:
    prefix = "Landlock ABI "
    return max((int(name[len(prefix) :]) for name in facts if name.startswith(prefix)), default=0)


def _files(layers: Layers) -> str:
    if layers.root:
        return "mount namespace + Landlock" if layers.landlock else "mount namespace"
    # Older ABIs leave truncating, which needs no more than the same uid.
    is_tight = layers.landlock >= landlock.TRUNCATE_ABI and layers.seccomp
    return "Landlock + seccomp" if is_tight else NONE


def _network(layers: Layers) -> str:
    if not layers.seccomp:
        return NONE  # AF_VSOCK and Unix sockets by path do not mind a namespace
    return "network namespace + seccomp" if layers.network else "seccomp"


def _processes(layers: Layers) -> str:
    if layers.pids and layers.proc:
        return "pid namespace"
    if not layers.seccomp or not layers.landlock:
        return NONE  # nothing would hide /proc
    if layers.uid:
        return "uid + Landlock + seccomp"
    return "Landlock + seccomp" if layers.landlock >= landlock.SCOPE_ABI else NONE


def _privileges(layers: Layers) -> str:
    if not layers.no_new_privs:
        return NONE
    if layers.uid:
        return "no_new_privs + uid"
    return "no_new_privs + user namespace" if layers.user_namespace else "no_new_privs"


def _reason(error: BaseException) -> str:
    code = error.errno if isinstance(error, OSError) else None
    name = errno.errorcode.get(code, str(code)) if code else type(error).__name__
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"{name}: {text}"
