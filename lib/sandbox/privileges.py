"""Giving up what a process could do beyond its own files."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from typing import Final

from lib.sandbox import syscalls

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38

# linux/securebits.h, each with its lock: uid 0 gets no capabilities at exec,
# none are kept across a change of uid, none become ambient. NO_SETUID_FIXUP is
# left clear, for with it leaving uid 0 would not clear capabilities.
_SECURE_BITS: Final = 0b11 | 0b1000 | 0b10_0000 | 0b1100_0000

_CAPABILITY_VERSION: Final = 0x2008_0522  # linux/capability.h, 64 bits in two halves
_LAST_CAPABILITY_EVER: Final = 63


def become(uid: int, gid: int) -> None:
    """Leave uid 0 for good, with no supplementary group.

    Raises:
        OSError: not root, or the ids do not exist in this user namespace.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def lock_capabilities() -> None:
    """Make sure that no exec gives capabilities; before the uid is left.

    A process without CAP_SETPCAP has nothing to lock: `no_new_privs` does.
    """
    with contextlib.suppress(PermissionError):
        syscalls.prctl(_PR_SET_SECUREBITS, _SECURE_BITS)
        for capability in range(_LAST_CAPABILITY_EVER + 1):
            if not _drop_from_bounding_set(capability):
                break


def _drop_from_bounding_set(capability: int) -> bool:
    """Return False after the last capability that the kernel knows."""
    try:
        syscalls.prctl(_PR_CAPBSET_DROP, capability)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def drop_capabilities() -> None:
    """Give up all capabilities in this user namespace.

    Raises:
        OSError: the kernel refused.
    """
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    syscalls.call("capset", header, bytes(24))


def refuse_new_privileges() -> None:
    """Let exec never grant more than there is: set-uid files do nothing any more."""
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable(*, dumpable: bool) -> None:
    """Say whether others of the same uid may look into this process.

    A process that is not dumpable cannot write its own `/proc/self/uid_map`
    either: its files in /proc then belong to root.
    """
    syscalls.prctl(_PR_SET_DUMPABLE, int(dumpable))


def die_with_parent(signal_number: int) -> None:
    """Get a signal when the parent ends. A change of uid forgets it."""
    syscalls.prctl(_PR_SET_PDEATHSIG, signal_number)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    syscalls.prctl(_PR_SET_PDEATHSIG, 0)
