"""The system call filter of a worker: what is refused, and how.

A list of what is denied, because Python, Node and what they load use hundreds
of calls between them; but calls younger than the list are denied too. Arguments
are compared by their low 32 bits, for that is all that the kernel reads of
those tested here: a test of all 64 could be passed by with a bit set high. A
pointer has 64 that count; one is null only where both halves are.
"""

from __future__ import annotations

import ctypes
import errno
import functools
from itertools import groupby
from operator import itemgetter
from typing import Final, Literal

from lib.sandbox import bpf, syscalls
from lib.sandbox.bpf import (
    Label,
    Line,
    give_back,
    if_any_bit,
    if_at_least,
    if_equal,
    keep_bits,
    load,
)

Sockets = Literal["stream", "none"]

_SET_MODE_FILTER: Final = 1  # linux/seccomp.h
_KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
_ALLOW: Final = 0x7FFF_0000

_NUMBER_AT: Final = 0  # struct seccomp_data
_ARCHITECTURE_AT: Final = 4
_X32_BIT: Final = 0x4000_0000  # a second table of calls under the name of x86-64
_AUDIT_ARCHITECTURES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # linux/audit.h

# Another root, other namespaces: each could undo the view of files.
_MOUNTS: Final = (
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick",
    "move_mount", "open_tree", "open_tree_attr", "mount_setattr", "setns", "unshare",
)  # fmt: skip
# Files by handle pass by every folder above them, and so by Landlock.
_HANDLES: Final = ("open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark")
_OTHER_PROCESSES: Final = (
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
    "kcmp", "pidfd_getfd", "migrate_pages", "move_pages", "perf_event_open",
)  # fmt: skip
# Large, seldom needed parts of the kernel in which holes are found again and again.
_ATTACK_SURFACE: Final = (
    "bpf", "userfaultfd", "add_key", "request_key", "keyctl", "mbind", "modify_ldt",
    "lookup_dcookie", "_sysctl", "sysfs", "uselib", "ustat", "nfsservctl",
    "query_module", "get_kernel_syms", "lsm_set_self_attr",
)  # fmt: skip
_ADMINISTRATION: Final = (
    "acct", "syslog", "reboot", "swapon", "swapoff", "quotactl", "quotactl_fd", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
    "sethostname", "setdomainname", "settimeofday", "clock_settime", "iopl", "ioperm", "vhangup",
)  # fmt: skip
# Memory that belongs to no process escapes RLIMIT_DATA and the supervisor's
# count; and without an ipc namespace these reach into other runs.
_UNCOUNTED_MEMORY: Final = (
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "shmdt", "msgget", "msgsnd",
    "msgrcv", "msgctl", "semget", "semop", "semtimedop", "semctl", "mq_open", "mq_unlink",
    "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
)  # fmt: skip

DENIED: Final = (*_MOUNTS, *_HANDLES, *_OTHER_PROCESSES, *_ATTACK_SURFACE, *_ADMINISTRATION)
# "No such call", so that callers take the older way: glibc falls back from
# clone3, whose flags lie in memory that a filter cannot read, to clone, and so
# do callers of openat2 to openat, of whose mode we must know.
ABSENT: Final = (
    "clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register", *_UNCOUNTED_MEMORY,
)  # fmt: skip

# Landlock does not see who owns a file or what its mode is. A worker that has
# the server's own uid could so lock it out of its database, or open that to
# others. By descriptor they stay allowed: that one had to be opened.
_OWNERSHIP: Final = (
    "chown", "lchown", "fchownat", "setxattr", "lsetxattr", "setxattrat", "removexattr",
    "lremovexattr", "removexattrat", "file_setattr",
)  # fmt: skip
# Copying a file ends with its mode and times: these say that they did it.
_MODES: Final = ("chmod", "fchmodat", "fchmodat2")
_TIMES: Final = ("utime", "utimes")
_TIMES_OF_PATH_OR_DESCRIPTOR: Final = ("utimensat", "futimesat")  # the latter for a null path
# Nor does Landlock see that a folder is watched, and so what the server does when.
_WATCHES: Final = ("inotify_add_watch",)
# Limits and priorities of processes of the same user: it could slow or end the
# server where it sees that, and init, whose limits the next run inherits, always.
# The first argument must be 0, which means this process.
_OTHERS_LIMITS: Final = (
    "prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
)  # fmt: skip
# Here the second must, and the first say that it names a process: 0 is also
# "my group" and "my user", which is theirs.
_OTHERS_PRIORITIES: Final = {
    "setpriority": 0,  # PRIO_PROCESS, linux/resource.h
    "ioprio_set": 1,  # IOPRIO_WHO_PROCESS, linux/ioprio.h
}

# A set-uid file left in the work folder would hand the run's user, and what is
# his, to whoever on the host starts it. Name and argument that is the mode.
_MODE_ARGUMENTS: Final = {
    "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mkdir": 1, "mkdirat": 2,
    "mknod": 1, "mknodat": 2,
}  # fmt: skip
# Name and argument of the flags; the mode follows, and is noise unless they create.
_OPEN_FLAGS: Final = {"open": 1, "openat": 2}
_SET_ID_BITS: Final = 0o6000  # S_ISUID | S_ISGID
_CREATES: Final = 0o20000100  # __O_TMPFILE | O_CREAT, the same on both architectures

_NEW_NAMESPACES: Final = 0x7E02_0000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}, linux/sched.h
_TERMINAL_REQUESTS: Final = (0x5412, 0x541C, 0x5423)  # TIOCSTI, TIOCLINUX, TIOCSETD
_PERSONALITIES: Final = (0, 0xFFFF_FFFF)  # the default, and the question which it is
_AF_UNIX: Final = 1
_AF_INET: Final = 2
_AF_INET6: Final = 10
_SOCKET_TYPE_MASK: Final = 0xF  # above it: SOCK_NONBLOCK, SOCK_CLOEXEC
_SOCK_STREAM: Final = 1
_SOCK_SEQPACKET: Final = 5
_IPPROTO_TCP: Final = 6
_MSG_FASTOPEN: Final = 0x2000_0000
_TCP_ULP: Final = 31


def build(
    sockets: Sockets,
    *,
    shares_uid: bool = False,
    shares_files: bool = False,
    architecture: str | None = None,
) -> bytes:
    """Return the filter's program.

    Args:
        sockets: `stream`: TCP over IPv4 and IPv6; `none`: no sockets at all.
            Pairs of connected Unix sockets are had either way.
        shares_uid: The worker has the uid of processes that it must not touch; of
            init, if of no other.
        shares_files: And of files, which no namespace hides.
        architecture: As `uname` says it; None: this machine's.

    Raises:
        KeyError: no numbers are known for the architecture.
    """
    architecture = architecture or syscalls.machine()
    targets = {
        number: label
        for name, label in _labels(
            sockets, shares_uid=shares_uid, shares_files=shares_files
        ).items()
        if (number := syscalls.find_number(name, architecture)) is not None
    }
    return bpf.assemble(
        [
            *_known_numbers_only(architecture),
            *_search(_spans(targets)),
            *_argument_tests(),
            *_verdicts(),
        ]
    )


def install(program: bytes) -> None:
    """Hold this process, and all it starts, to the filter for good.

    It needs `no_new_privs` or CAP_SYS_ADMIN.

    Raises:
        OSError: the kernel refused.
    """
    header, _ = prepare(program)
    syscalls.call("seccomp", _SET_MODE_FILTER, 0, ctypes.byref(header))


@functools.cache
def prepare(program: bytes) -> tuple[_Program, object]:
    """Return a program as the kernel takes it, and what must live as long; made once."""
    lines = ctypes.create_string_buffer(program, len(program))
    return _Program(len(program) // 8, ctypes.addressof(lines)), lines


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))


def _labels(sockets: Sockets, *, shares_uid: bool, shares_files: bool) -> dict[str, str]:
    """Return where in the program each call is judged."""
    tested = ["clone", "ioctl", "personality", "socketpair", "sendto", "sendmsg", "sendmmsg"]
    tested.append("setsockopt")
    return {
        **dict.fromkeys(DENIED, "deny"),
        **dict.fromkeys(ABSENT, "absent"),
        **{name: name for name in (*tested, *_OPEN_FLAGS)},
        **{name: f"mode {index} or allow" for name, index in _MODE_ARGUMENTS.items()},
        "socket": "socket" if sockets == "stream" else "deny",
        **(_LABELS_ON_SHARED_UID if shares_uid else {}),
        **(_LABELS_ON_SHARED_FILES if shares_files else {}),
    }


_LABELS_ON_SHARED_UID: Final = {
    **dict.fromkeys(_OTHERS_LIMITS, "this process"),
    **{name: name for name in _OTHERS_PRIORITIES},
}
_LABELS_ON_SHARED_FILES: Final = {
    **dict.fromkeys((*_OWNERSHIP, *_WATCHES), "deny"),
    **{name: f"mode {_MODE_ARGUMENTS[name]} or pretend" for name in _MODES},
    **dict.fromkeys(_TIMES, "pretend"),
    **dict.fromkeys(_TIMES_OF_PATH_OR_DESCRIPTOR, "path is null"),
}


def _known_numbers_only(architecture: str) -> list[Line]:
    lines: list[Line] = [
        load(_ARCHITECTURE_AT),
        if_equal(_AUDIT_ARCHITECTURES[architecture], otherwise="kill"),
        load(_NUMBER_AT),
    ]
    if architecture == "x86_64":
        lines.append(if_at_least(_X32_BIT, then="kill"))
    lines.append(if_at_least(syscalls.LAST_KNOWN + 1, then="absent"))
    return lines


def _spans(targets: dict[int, str]) -> list[tuple[int, str]]:
    """Return first number and label of each run of calls that are judged alike."""
    numbered = [(number, targets.get(number, "allow")) for number in range(max(targets) + 2)]
    return [next(run) for _, run in groupby(numbered, key=itemgetter(1))]


def _search(spans: list[tuple[int, str]]) -> list[Line]:
    """Return a binary search: it is run at each call that the kernel has not cached."""
    middle = len(spans) // 2
    first, label = spans[middle]
    if len(spans) == 2:
        return [if_at_least(first, then=label, otherwise=spans[0][1])]
    if len(spans) == 3:
        return [if_at_least(first, otherwise=spans[0][1]), *_search(spans[middle:])]
    upper = f"from {first}"
    return [
        if_at_least(first, then=upper),
        *_search(spans[:middle]),
        Label(upper),
        *_search(spans[middle:]),
    ]


def _argument(index: int) -> bpf.Instruction:
    """Load the low half of an argument; both architectures are little-endian."""
    return load(16 + 8 * index)


def _high_half(index: int) -> bpf.Instruction:
    return load(20 + 8 * index)


def _argument_tests() -> list[Line]:
    return [
        Label("clone"),
        _argument(0),
        if_any_bit(_NEW_NAMESPACES, then="deny", otherwise="allow"),
        Label("ioctl"),
        _argument(1),
        *(if_equal(request, then="deny") for request in _TERMINAL_REQUESTS),
        give_back(_ALLOW),
        Label("personality"),
        _argument(0),
        *(if_equal(each, then="allow") for each in _PERSONALITIES),
        give_back(_ERRNO | errno.EPERM),
        *_socket_test(),
        *_socket_pair_test(),
        *_send_tests(),
        *_own_process_tests(),
        *_mode_tests(),
        *_times_test(),
        # Turns a TCP socket into one that Landlock does not know for TCP.
        Label("setsockopt"),
        _argument(1),
        if_equal(_IPPROTO_TCP, otherwise="allow"),
        _argument(2),
        if_equal(_TCP_ULP, then="deny", otherwise="allow"),
    ]


def _socket_test() -> list[Line]:
    """Only TCP proper: Landlock's rules do not see MPTCP or SCTP, streams too."""
    return [
        Label("socket"),
        _argument(0),
        if_equal(_AF_INET, then="internet"),
        if_equal(_AF_INET6, otherwise="deny"),
        Label("internet"),
        _argument(1),
        keep_bits(_SOCKET_TYPE_MASK),
        if_equal(_SOCK_STREAM, otherwise="deny"),
        _argument(2),
        if_equal(0, then="allow"),
        if_equal(_IPPROTO_TCP, then="allow", otherwise="deny"),
    ]


def _socket_pair_test() -> list[Line]:
    """No datagram pairs: such a socket can be connected anew, to any Unix address."""
    return [
        Label("socketpair"),
        _argument(0),
        if_equal(_AF_UNIX, otherwise="deny"),
        _argument(1),
        keep_bits(_SOCKET_TYPE_MASK),
        if_equal(_SOCK_STREAM, then="allow"),
        if_equal(_SOCK_SEQPACKET, then="allow", otherwise="deny"),
    ]


def _send_tests() -> list[Line]:
    """No TCP Fast Open: it connects without Landlock's hook for connecting."""
    tests: list[Line] = []
    for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        tests += [
            Label(name),
            _argument(flags),
            if_any_bit(_MSG_FASTOPEN, then="deny", otherwise="allow"),
        ]
    return tests


def _own_process_tests() -> list[Line]:
    tests: list[Line] = [
        Label("this process"),
        _argument(0),
        if_equal(0, then="allow", otherwise="deny"),
    ]
    for name, process in _OTHERS_PRIORITIES.items():
        tests += [
            Label(name),
            _argument(0),
            if_equal(process, otherwise="deny"),
            _argument(1),
            if_equal(0, then="allow", otherwise="deny"),
        ]
    return tests


def _mode_tests() -> list[Line]:
    """No set-uid and no set-gid bits, neither in a new file's mode nor a later one."""
    tests: list[Line] = []
    for name, flags in _OPEN_FLAGS.items():
        mode = f"mode {flags + 1} or allow"
        tests += [
            Label(name),
            _argument(flags),
            if_any_bit(_CREATES, then=mode, otherwise="allow"),
        ]
    for index, verdict in _MODE_TESTS:
        tests += [
            Label(f"mode {index} or {verdict}"),
            _argument(index),
            if_any_bit(_SET_ID_BITS, then="deny", otherwise=verdict),
        ]
    return tests


_MODE_TESTS: Final = ((1, "allow"), (2, "allow"), (3, "allow"), (1, "pretend"), (2, "pretend"))


def _times_test() -> list[Line]:
    """By descriptor only: there the path is a null pointer, and all its bits count."""
    return [
        Label("path is null"),
        _argument(1),
        if_equal(0, otherwise="pretend"),
        _high_half(1),
        if_equal(0, then="allow", otherwise="pretend"),
    ]


def _verdicts() -> list[Line]:
    return [
        Label("deny"),
        give_back(_ERRNO | errno.EPERM),
        Label("absent"),
        give_back(_ERRNO | errno.ENOSYS),
        Label("pretend"),
        give_back(_ERRNO),
        Label("kill"),
        give_back(_KILL_PROCESS),
        Label("allow"),
        give_back(_ALLOW),
    ]
