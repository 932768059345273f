"""Control groups: memory and tasks of a whole run, counted by the kernel.

Optional: an ordinary user, or a container, seldom may make them. Version 2 is
used where memory and pids can be delegated, else version 1 with its two
hierarchies; cgroups(7).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lib.sandbox import kernel_files
from lib.sandbox.process_names import start_time

_PREFIX: Final = "floom-"
_OURS: Final = f"{_PREFIX}*-*"
_CONTROLLERS: Final = ("memory", "pids")
_REMOVE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.001


@dataclass(frozen=True)
class Group:
    """One run's group: one folder in version 2, one for each controller in version 1.

    Paths are text: each run makes, fills and removes a group, and `pathlib` takes
    about as long for that as the kernel.

    Attributes:
        memory: Path of the folder where memory is counted.
        pids: Where tasks are; the same folder in version 2.
    """

    version: Literal[1, 2]
    memory: str
    pids: str

    def limit(self, *, memory_bytes: int, tasks: int) -> None:
        """Set how much memory it may hold, and how many processes and threads.

        Raises:
            OSError: the kernel refused.
        """
        kernel_files.write(f"{self.pids}/pids.max", str(tasks))
        if self.version == 2:
            _limit_memory(self.memory, memory_bytes)
        else:
            _limit_memory_v1(self.memory, memory_bytes)

    def open(self) -> int | None:
        """Return a descriptor to be born in it by, see `namespaces.fork`; None: it must be joined.

        In version 2 joining takes milliseconds: it waits for every processor.
        """
        if self.version == 1:
            return None
        return os.open(self.memory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def join(self) -> None:
        """Put this process, of one thread, in; what it starts afterwards is born there."""
        # By thread where that can be had, which waits for nobody.
        name = "tasks" if self.version == 1 else "cgroup.procs"
        for folder in self.folders:
            kernel_files.write(f"{folder}/{name}", "0")

    def peak_bytes(self) -> int | None:
        """Return the most memory that was held at once; None before Linux 5.19."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        with contextlib.suppress(OSError):
            return int(kernel_files.read(f"{self.memory}/{name}"))
        return None

    def cpu_seconds(self) -> float:
        """Return the CPU time of all that was ever in it; 0 in version 1, where it is not counted."""
        if self.version == 1:
            return 0.0
        first, _, _ = kernel_files.read(f"{self.memory}/cpu.stat").partition(b"\n")
        return int(first.removeprefix(b"usage_usec ")) / 1e6

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed anything in it for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _counts(f"{self.memory}/{name}", b"oom_kill ")

    def was_out_of_tasks(self) -> bool:
        """Whether the kernel has refused it a process or thread."""
        with contextlib.suppress(OSError):  # not in every version
            return _counts(f"{self.pids}/pids.events", b"max ")
        return False

    def kill(self) -> None:
        """Kill everything in it; returns when nothing is left to kill."""
        with contextlib.suppress(FileNotFoundError):
            kernel_files.write(f"{self.pids}/cgroup.kill", "1")  # version 2, from Linux 5.14
            return
        while pids := kernel_files.read(f"{self.pids}/cgroup.procs").split():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(_PAUSE_SECONDS)

    def remove(self) -> None:
        """Delete it, once its processes have been reaped.

        Raises:
            OSError: something is still in it after a second.
        """
        deadline = time.monotonic() + _REMOVE_SECONDS
        for folder in self.folders:
            while not _is_removed(folder, last_try=time.monotonic() > deadline):
                time.sleep(_PAUSE_SECONDS)

    @property
    def folders(self) -> list[str]:
        """What has to be made and removed."""
        return [self.memory] if self.memory == self.pids else [self.memory, self.pids]


@dataclass(frozen=True)
class Groups:
    """Where groups for runs may be made."""

    version: Literal[1, 2]
    memory: Path
    pids: Path

    @classmethod
    def find(cls) -> Groups | None:
        """Return a place in which making a group works, tried; None if there is none."""
        for candidate in _candidates():
            try:
                candidate.try_one()
            except OSError:
                continue
            return candidate
        return None

    def sweep(self) -> None:
        """End what is left in groups whose supervisor, which a group is named after, is gone.

        Where there is no pid namespace, and supervisor and zygote were killed, a
        run's processes would otherwise go on for ever.
        """
        names = {path.name for folder in (self.memory, self.pids) for path in folder.glob(_OURS)}
        for name in names:
            pid = name.removeprefix(_PREFIX).partition("-")[0]
            if pid.isdigit() and start_time(int(pid)) is None:
                group = self._group(name)
                with contextlib.suppress(OSError):  # somebody else was quicker
                    group.kill()
                with contextlib.suppress(OSError):
                    group.remove()

    def create(self, name: str) -> Group:
        """Make a run's group, without limits yet.

        Raises:
            OSError: the kernel refused, or the name is taken.
        """
        group = self._group(f"{_PREFIX}{name}")
        for folder in group.folders:
            os.mkdir(folder)  # noqa: PTH102 - if it is there it is another's, and stays
        return group

    def _group(self, name: str) -> Group:
        return Group(self.version, f"{self.memory}/{name}", f"{self.pids}/{name}")

    def try_one(self) -> None:
        """Make a group with limits, and remove it.

        Raises:
            OSError: the kernel refused.
        """
        group = self.create(f"probe-{os.getpid()}")
        try:
            group.limit(memory_bytes=1 << 30, tasks=8)
        finally:
            group.remove()


def _limit_memory(folder: str, memory_bytes: int) -> None:
    kernel_files.write(f"{folder}/memory.max", str(memory_bytes))
    with contextlib.suppress(OSError):  # without swap there is no such file
        kernel_files.write(f"{folder}/memory.swap.max", "0")


def _limit_memory_v1(folder: str, memory_bytes: int) -> None:
    kernel_files.write(f"{folder}/memory.limit_in_bytes", str(memory_bytes))
    with contextlib.suppress(OSError):  # with swap accounting only
        kernel_files.write(f"{folder}/memory.memsw.limit_in_bytes", str(memory_bytes))


def _counts(path: str, name: bytes) -> bool:
    """Whether a file of counters, one a line, has one by that name above zero."""
    return any(
        line.startswith(name) and not line.endswith(b" 0")
        for line in kernel_files.read(path).splitlines()
    )


def _is_removed(folder: str, *, last_try: bool) -> bool:
    try:
        os.rmdir(folder)  # noqa: PTH106 - see `Group`
    except FileNotFoundError:
        return True
    except OSError:
        if last_try:
            raise
        return False
    return True


def _candidates() -> list[Groups]:
    mounts = _mounts()
    found: list[Groups] = []
    own = _own_groups()
    if "" in mounts and "" in own:
        # A group that holds processes cannot hand controllers on, but the one
        # above may, if it was given to us (systemd's DelegateSubgroup=). We do not
        # move out of our own: if runs outlived the server (KillMode=process),
        # systemd could not start another in a group that hands controllers on.
        base = mounts[""] / own[""].lstrip("/")
        found += [Groups(2, each, each) for each in (base, base.parent) if _hands_on(each)]
    if all(name in mounts and name in own for name in _CONTROLLERS):
        memory, pids = (mounts[name] / own[name].lstrip("/") for name in _CONTROLLERS)
        found.append(Groups(1, memory, pids))
    return found


def _hands_on(folder: Path) -> bool:
    """Whether groups below can have both controllers, switched on if need be."""
    control = folder / "cgroup.subtree_control"
    try:
        if set(_CONTROLLERS) <= set(control.read_text().split()):
            return True
        if not set(_CONTROLLERS) <= set((folder / "cgroup.controllers").read_text().split()):
            return False
        control.write_text("+memory +pids")
    except OSError:
        return False
    return True


def _mounts() -> dict[str, Path]:
    """Return mount points by controller; version 2 has the name ""."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found[""] = Path(place)
        elif kind == "cgroup":
            found |= {name: Path(place) for name in _CONTROLLERS if name in options.split(",")}
    return found


def _own_groups() -> dict[str, str]:
    """Return this process's groups by controller."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found
