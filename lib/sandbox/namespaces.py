"""A child in namespaces of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from dataclasses import dataclass
from typing import Final, Self

from lib.sandbox import kernel_files, syscalls

MOUNTS: Final = 0x0002_0000  # CLONE_NEW*, linux/sched.h
IPC: Final = 0x0800_0000
USERS: Final = 0x1000_0000
PIDS: Final = 0x2000_0000
NETWORK: Final = 0x4000_0000

_INTO_GROUP: Final = 0x2_0000_0000  # CLONE_INTO_CGROUP
_ARGUMENTS: Final = struct.Struct("=11Q")  # struct clone_args, with the group as the last

PRIVATE: Final = 0x4_0000  # MS_*, linux/mount.h: how mounts follow those that they are copies of
_SLAVE: Final = 0x8_0000
_RECURSIVE: Final = 0x4000

INNER_ID: Final = 1000  # user and group of a worker in a user namespace


@dataclass(frozen=True, slots=True)
class Mounts:
    """A mount namespace to come back to, and what was the root folder there.

    Attributes:
        namespace: Its descriptor.
        root: The folder's: a server that was put below another root (chroot) must not
            find itself at the namespace's own.
    """

    namespace: int
    root: int

    @classmethod
    def of_this_process(cls) -> Self:
        """Return those that this process is in.

        Raises:
            OSError: there is no `/proc`.
        """
        return cls(open_mounts(), open_root())

    def enter(self) -> None:
        """Go on there, in the root folder; for a process with one thread.

        Raises:
            OSError: the kernel refused: a namespace of another user, or no CAP_SYS_CHROOT.
        """
        syscalls.call("setns", self.namespace, MOUNTS)
        os.fchdir(self.root)
        os.chroot(".")


def open_mounts() -> int:
    """Return a descriptor of the mount namespace that this process is in.

    Raises:
        OSError: there is no `/proc`.
    """
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def open_root() -> int:
    """Return a descriptor of this process's root folder."""
    return os.open("/", os.O_PATH | os.O_CLOEXEC)


def follow_mounts() -> None:
    """In a new mount namespace: see what is mounted on the host, and show it nothing.

    Raises:
        OSError: the kernel refused.
    """
    _propagate(_SLAVE)


def leave_mounts() -> None:
    """Go on in a mount namespace of one's own: a copy of the one that is left.

    What is mounted in either later does not show in the other.

    Raises:
        OSError: the kernel refused.
    """
    syscalls.call("unshare", MOUNTS)
    _propagate(PRIVATE)


def _propagate(how: int) -> None:
    syscalls.call("mount", None, b"/", None, _RECURSIVE | how, None)


def fork(flags: int, group: int | None = None) -> int:
    """Fork, the child being the first process of new namespaces.

    Like `os.fork`, it returns the child's pid, and 0 in the child. Only for a
    process with one thread: Python's own after-fork work is not done, which
    saves half a millisecond: see `renew_interpreter`.

    Args:
        flags: The namespaces.
        group: Descriptor of a control group's folder, in version 2, that the child
            is born in; clone3(2), which a container may deny.

    Raises:
        OSError: the kernel refused.
    """
    if group is not None:
        arguments = _ARGUMENTS.pack(
            flags | _INTO_GROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, group
        )
        return syscalls.call("clone3", arguments, len(arguments))
    # The other arguments (stack, thread ids, thread storage) stand in another
    # order on each architecture; zero, they are the same.
    return syscalls.call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)


def renew_interpreter() -> None:
    """Do what `os.fork` does in a child: fresh random numbers and locks among it.

    A process that came from `fork` needs it before it runs a worker's code.
    """
    ctypes.pythonapi.PyOS_AfterFork_Child()


def map_ids(uid: int, gid: int) -> None:
    """In a new user namespace: give this process's ids outside the names they have inside.

    It must be dumpable, or the files belong to root.

    Args:
        uid: The user that made the namespace, as seen outside.
        gid: Its group.

    Raises:
        OSError: the kernel refused.
    """
    # Without this nobody unprivileged may map groups: leaving one could gain
    # access where a group is denied what others are granted.
    kernel_files.write("/proc/self/setgroups", "deny")
    kernel_files.write("/proc/self/uid_map", f"{INNER_ID} {uid} 1")
    kernel_files.write("/proc/self/gid_map", f"{INNER_ID} {gid} 1")
