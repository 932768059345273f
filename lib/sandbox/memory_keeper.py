"""Who takes a process's memory apart, so that the program it executes need not wait for that.

A process that executes a program first gives up its own memory, which takes an
interpreter with its modules some milliseconds. It gives up nothing while another
process shares that memory: the keeper, which sleeps until the program runs, and ends.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Any, Final

from lib.sandbox import privileges

_SHARED_MEMORY: Final = 0x100  # CLONE_VM, linux/sched.h
_SAME_PARENT: Final = 0x8000  # CLONE_PARENT
_MICROSECONDS: Final = 2000  # some times what executing a program takes
_STACK_BYTES: Final = 16 * 1024
_ALIGNMENT: Final = 16

# PyDLL: see `syscalls`.
_libc: Final = ctypes.PyDLL(None, use_errno=True)


class Keeper:
    """The keeper of this process's memory, to be forked right before a program is executed.

    It executes one function of the C library, on a stack of its own, and nothing of
    the interpreter. It is a sibling of this process, so that no program meets a child
    that it does not know. And nobody may look into it, as the program could otherwise,
    being of the same user: it has this process's descriptors.
    """

    def __init__(self) -> None:
        self._stack = ctypes.create_string_buffer(_STACK_BYTES)
        top = (ctypes.addressof(self._stack) + _STACK_BYTES) // _ALIGNMENT * _ALIGNMENT
        self._arguments = (
            _address_of(_libc.usleep),
            ctypes.c_void_p(top),
            ctypes.c_int(_SHARED_MEMORY | _SAME_PARENT | signal.SIGCHLD),
            ctypes.c_void_p(_MICROSECONDS),
        )

    def fork(self) -> None:
        """Fork it; where that is refused the program only comes later."""
        _forked.append(self)  # its stack is in use until it ends
        privileges.set_dumpable(dumpable=False)  # executing a program makes that anew
        _libc.clone(*self._arguments)


_forked: Final[list[Keeper]] = []


def _address_of(function: Any) -> ctypes.c_void_p:
    return ctypes.cast(function, ctypes.c_void_p)
