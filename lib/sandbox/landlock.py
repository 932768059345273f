"""Landlock: which files and ports a process may reach, decided by itself.

Rights are named for the kernel's ABI that brought them; an older kernel is not
asked about rights that it does not know, linux/landlock.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from lib.sandbox import syscalls

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_FOLDER: Final = 1 << 3
REMOVE_FOLDER: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHARACTER_DEVICE: Final = 1 << 6
MAKE_FOLDER: Final = 1 << 7
MAKE_FILE: Final = 1 << 8
MAKE_SOCKET: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK_DEVICE: Final = 1 << 11
MAKE_LINK: Final = 1 << 12
REFER: Final = 1 << 13  # ABI 2: rename and link from one folder to another
TRUNCATE: Final = 1 << 14  # ABI 3
CONTROL_DEVICE: Final = 1 << 15  # ABI 5: ioctl

READ: Final = EXECUTE | READ_FILE | READ_FOLDER
LOOK: Final = READ_FILE | READ_FOLDER
USE_DEVICE: Final = READ_FILE | WRITE_FILE | TRUNCATE | CONTROL_DEVICE
# Everything but devices, which nobody has a reason to make.
OWN: Final = (
    READ | WRITE_FILE | TRUNCATE | REFER | REMOVE_FOLDER | REMOVE_FILE
    | MAKE_FOLDER | MAKE_FILE | MAKE_SOCKET | MAKE_FIFO | MAKE_LINK
)  # fmt: skip

TRUNCATE_ABI: Final = 3
NETWORK_ABI: Final = 4
SCOPE_ABI: Final = 6

_ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | CONTROL_DEVICE
_BIND: Final = 1 << 0
_CONNECT: Final = 1 << 1
_SCOPE_ABSTRACT_SOCKETS: Final = 1 << 0
_SCOPE_SIGNALS: Final = 1 << 1
_LOG_NOTHING: Final = 1 << 0  # LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF, ABI 7

_QUERY_VERSION: Final = 1
_RULE_PATH: Final = 1
_RULESET: Final = struct.Struct("=QQQ")
_PATH_RULE: Final = struct.Struct("=Qi")
_NEWEST: Final = 7  # of the ABIs known here


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done with a file, or with a folder and all below it."""

    path: str
    rights: int


def abi() -> int:
    """Return the ABI to use: the kernel's, or the newest known here.

    Raises:
        OSError: no Landlock in this kernel, or it was not enabled at boot.
    """
    return min(_NEWEST, syscalls.call("landlock_create_ruleset", None, 0, _QUERY_VERSION))


def rights_known_to(version: int) -> int:
    """Return all rights on files that an ABI knows."""
    known = MAKE_LINK * 2 - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, CONTROL_DEVICE)):
        known |= right if version >= since else 0
    return known


class Ruleset:
    """Rules in the making, which hold nobody yet; a context manager.

    Args:
        version: The ABI, 1 to 7.
        denies_network: From ABI 4 no TCP port may be bound or connected to.

    Raises:
        OSError: the kernel refused.
    """

    def __init__(self, version: int, *, denies_network: bool) -> None:
        self._version = version
        self._handled = rights_known_to(version)
        restricts_network = denies_network and version >= NETWORK_ABI
        self._descriptor = _create(version, self._handled, restricts_network=restricts_network)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def allow(self, rules: Iterable[Rule]) -> None:
        """Add rules; everything else is denied.

        Raises:
            OSError: a path is not there. Paths are resolved now.
        """
        for rule in rules:
            _allow_path(self._descriptor, rule.path, rule.rights & self._handled)

    def restrict(self) -> None:
        """Hold this thread, and all it starts, to the rules for good.

        It needs `no_new_privs` or CAP_SYS_ADMIN. What is open stays open.

        Raises:
            OSError: the kernel refused.
        """
        # Otherwise a worker could fill the host's audit log with its denials.
        flags = _LOG_NOTHING if self._version >= 7 else 0
        syscalls.call("landlock_restrict_self", self._descriptor, flags)


def _create(version: int, handled: int, *, restricts_network: bool) -> int:
    network = _BIND | _CONNECT if restricts_network else 0
    scopes = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= SCOPE_ABI else 0
    # Older kernels take the longer structure as long as what they do not know is zero.
    attributes = _RULESET.pack(handled, network, scopes)
    return syscalls.call("landlock_create_ruleset", attributes, len(attributes), 0)


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _add(ruleset, _PATH_RULE.pack(rights, beneath))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Rights that only folders have are refused for a file.
        _add(ruleset, _PATH_RULE.pack(rights & _ON_FILES, beneath))
    finally:
        os.close(beneath)


def _add(ruleset: int, attributes: bytes) -> None:
    syscalls.call("landlock_add_rule", ruleset, _RULE_PATH, attributes, 0)
