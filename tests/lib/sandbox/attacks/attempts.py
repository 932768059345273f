"""What a hostile worker tries; run inside the confinement, standard library only.

    python attempts.py TARGETS.json [NAME ...]

prints a line `{"name", "verdict", "detail"}` for each attempt. `allowed` means
that the attack got what it wanted; each runs in a child of its own with a
deadline, so that one cannot spoil the next.
"""

# A worker makes the calls themselves, and prints what came of them.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH110, PTH112, PTH115, PTH116
# ruff: noqa: PTH119, PTH120, PTH123, PTH208, PTH211, PLW1510, T201
from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

SECONDS = 10
NUMBERS: dict[str, tuple[int, int | None]] = {  # name: (x86-64, aarch64)
    "bpf": (321, 280),
    "chmod": (90, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "creat": (85, None),
    "delete_module": (176, 106),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fsopen": (430, 430),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26),
    "io_uring_setup": (425, 425),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open": (2, None),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "openat": (257, 56),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
}
COLUMN = 0 if platform.machine() == "x86_64" else 1
REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

INIT = os.getppid()  # it has this worker forked, and will have others

ATTEMPTS: dict[str, Callable[[], object]] = {}
TARGETS: dict[str, object] = {}


class Denied(Exception):
    """It did not work, though no call failed."""


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    """Register an attack. It raises when it fails; a return value is its loot."""
    ATTEMPTS[function.__name__] = function
    return function


def target(name: str) -> str:
    return str(TARGETS[name])


def pid_of_victim() -> int:
    return int(target("victim"))


def call(name: str | int, *arguments: object) -> int:
    """Make a system call; raise OSError as it fails."""
    number = name if isinstance(name, int) else NUMBERS[name][COLUMN]
    if number is None:
        raise OSError(errno.ENOSYS, f"the kernel has none: {name}, on this architecture")
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = LIBC.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def reach(name: str, *arguments: object) -> str:
    """Succeed if the kernel as much as looked at the call's arguments."""
    try:
        return f"returned {call(name, *arguments)}"
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        return f"looked at: {error}"


def first_that_works(ways: Iterable[Callable[[], object]]) -> object:
    """Try several calls for one end; raise what the last one raised."""
    failure: Exception = Denied("no way")
    for way in ways:
        try:
            return way()
        except (OSError, Denied) as error:
            failure = error
    raise failure


def read(path: str) -> str:
    return Path(path).read_text(errors="replace")[:200]


# Files


@attempt
def read_state_database() -> str:
    return read(target("state"))


@attempt
def append_to_state_database() -> None:
    with open(target("state"), "r+") as file:  # "a" would make one in a private /tmp
        file.seek(0, os.SEEK_END)
        file.write("x")


@attempt
def truncate_state_database() -> None:
    os.truncate(target("state"), 0)


@attempt
def change_mode_of_state_database() -> None:
    os.chmod(target("state"), 0o666)
    if stat.S_IMODE(os.stat(target("state")).st_mode) != 0o666:
        raise Denied("it says that it did, and did not")


LONG_AGO = 86_400  # seconds since 1970
AT_FDCWD = -100


@attempt
def change_times_of_state_database() -> None:
    os.utime(target("state"), (LONG_AGO, LONG_AGO))
    expect_long_ago()


@attempt
def change_times_of_state_database_by_old_calls() -> object:
    path = target("state").encode()
    times = struct.pack("=4q", LONG_AGO, 0, LONG_AGO, 0)
    return first_that_works(
        lambda each=each: expect_long_ago(call(*each))  # type: ignore[misc]
        for each in (
            ("utime", path, struct.pack("=2q", LONG_AGO, LONG_AGO)),
            ("utimes", path, times),
            ("futimesat", AT_FDCWD, path, times),
        )
    )


@attempt
def change_times_by_address_that_looks_null() -> None:
    """A path whose address has 32 zero bits at its end is no null pointer."""
    address = map_memory_at(1 << 32)
    ctypes.memmove(address, target("state").encode() + b"\0", len(target("state")) + 1)
    times = struct.pack("=4q", LONG_AGO, 0, LONG_AGO, 0)
    call("utimensat", AT_FDCWD, address, times, 0)
    expect_long_ago()


def map_memory_at(address: int) -> int:
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    fixed = 0x10  # MAP_FIXED
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | fixed
    found: int = LIBC.mmap(address, 4096, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    assert found == address
    return found


def expect_long_ago(_result: int = 0) -> None:
    if os.stat(target("state")).st_mtime != LONG_AGO:
        raise Denied("it says that it did, and did not")


@attempt
def watch_state_database() -> str:
    """What the server does, and when, without leave to read a byte of it."""
    expect_server_s_uid()  # another one's folders are closed to us
    watcher = call("inotify_init1", 0)
    return f"watch {call('inotify_add_watch', watcher, target('state').encode(), 0xFFF)}"


@attempt
def remove_state_database() -> None:
    os.unlink(target("state"))


@attempt
def list_other_run() -> list[str]:
    return os.listdir(target("other_run"))


@attempt
def read_file_of_other_run() -> str:
    return read(target("other_run") + "/secret")


@attempt
def write_into_other_run() -> None:
    Path(target("other_run"), "planted").write_text("x")


@attempt
def read_own_meta_folder() -> str:
    return read("../meta/secret")


@attempt
def read_host_shadow() -> str:
    return read("/etc/shadow")


@attempt
def list_host_home() -> list[str]:
    found = [name for path in ("/root", "/home") for name in list_or_nothing(path)]
    # The folders above an interpreter's may be there, empty but for it.
    if not set(found) - {".pyenv", ".nvm", ".local"}:
        raise Denied("nothing there")
    return found


def list_or_nothing(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


@attempt
def list_system_folders() -> list[str]:
    found = [path for path in ("/run", "/var", "/sys", "/boot", "/srv") if list_or_nothing(path)]
    if not found:
        raise Denied("nothing there")
    return found


@attempt
def read_engine_source() -> str:
    return read(target("engine"))


@attempt
def climb_with_dots() -> str:
    return read("../../../" + os.path.basename(target("state")))


@attempt
def follow_symbolic_link() -> str:
    link("by-name", lambda path: os.symlink(target("state"), path))
    return read("by-name")


@attempt
def make_hard_link() -> str:
    link("by-inode", lambda path: os.link(target("other_run") + "/secret", path))
    return read("by-inode")


def link(path: str, make: Callable[[str], None]) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    make(path)


@attempt
def rename_out_of_folder() -> None:
    Path("mine").write_text("x")
    os.rename("mine", target("other_run") + "/mine")


@attempt
def use_inherited_folder() -> str:
    """A descriptor of a folder outside is a way past any root."""
    for name in os.listdir("/proc/self/fd"):
        if os.path.isdir(f"/proc/self/fd/{name}") and not name_is_own(name):
            return os.readlink(f"/proc/self/fd/{name}")
    raise Denied("no folder is open")


def name_is_own(name: str) -> bool:
    """Listing /proc/self/fd opens it; that one is gone or is below /proc."""
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("/proc/")
    except OSError:
        return True


@attempt
def use_guessed_descriptors() -> str:
    for number in range(3, 256):
        try:
            folder = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=number)
        except OSError:
            continue
        return f"{number}: {os.listdir(folder)}"
    raise Denied("no folder is open")


@attempt
def escape_by_chroot() -> str:
    os.mkdir("jail")
    outside = os.open("/", os.O_RDONLY)
    os.chroot("jail")
    os.fchdir(outside)
    for _ in range(20):
        os.chdir("..")
    return read("etc/shadow")


@attempt
def write_into_interpreter() -> None:
    Path(os.path.dirname(os.__file__), "planted.py").write_text("x")


@attempt
def write_into_environment() -> None:
    Path(target("environment"), "planted.py").write_text("x")


@attempt
def write_into_root() -> None:
    Path("/planted").write_text("x")


@attempt
def remove_system_file() -> None:
    os.unlink("/etc/passwd")


@attempt
def read_leftover_in_shared_memory() -> str:
    return read(target("shared_memory"))


@attempt
def read_leftover_in_tmp() -> str:
    return read(target("temporary"))


@attempt
def open_file_by_handle() -> str:
    return reach("open_by_handle_at", -100, b"\0" * 136, 0)


@attempt
def ask_for_handle() -> str:
    return reach("name_to_handle_at", -100, b".", b"\0" * 136, b"\0" * 8, 0)


@attempt
def make_device() -> None:
    os.mknod("disk", 0o666 | stat.S_IFBLK, os.makedev(254, 0))


@attempt
def leave_set_uid_file_by_mode() -> object:
    Path("left-by-mode").write_text("x")
    return first_that_works(
        lambda each=each: expect_set_id("left-by-mode", call(*each))  # type: ignore[misc]
        for each in (
            ("chmod", b"left-by-mode", 0o4755),
            ("fchmodat", AT_FDCWD, b"left-by-mode", 0o4755),
            ("fchmodat2", AT_FDCWD, b"left-by-mode", 0o4755, 0),
        )
    )


@attempt
def leave_set_uid_file_by_descriptor() -> str:
    with open("left-by-descriptor", "w") as file:
        os.fchmod(file.fileno(), 0o4755)
    return expect_set_id("left-by-descriptor")


@attempt
def leave_set_uid_file_by_creating() -> object:
    os.umask(0)
    create = os.O_CREAT | os.O_WRONLY
    return first_that_works(
        lambda each=each: expect_set_id("left-by-creating", call(*each))  # type: ignore[misc]
        for each in (
            ("creat", b"left-by-creating", 0o4755),
            ("open", b"left-by-creating", create, 0o4755),
            ("openat", AT_FDCWD, b"left-by-creating", create, 0o4755),
            ("openat2", AT_FDCWD, b"left-by-creating", struct.pack("=3Q", create, 0o4755, 0), 24),
        )
    )


@attempt
def leave_set_uid_file_without_name() -> str:
    os.umask(0)
    file = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o4755)
    by_number = f"/proc/self/fd/{file}".encode()
    LIBC.linkat(AT_FDCWD, by_number, AT_FDCWD, b"left-without-name", 0x400)  # AT_SYMLINK_FOLLOW
    return expect_set_id("left-without-name")


@attempt
def leave_set_uid_file_by_node() -> str:
    os.umask(0)
    os.mknod("left-by-node", 0o4755 | stat.S_IFREG)
    return expect_set_id("left-by-node")


@attempt
def leave_set_gid_folder() -> str:
    os.mkdir("left-folder")
    os.chmod("left-folder", 0o2755)
    return expect_set_id("left-folder")


def expect_set_id(path: str, _result: int = 0) -> str:
    mode = os.stat(path).st_mode
    if not mode & (stat.S_ISUID | stat.S_ISGID):
        raise Denied(f"it has mode {mode:o}")
    return f"{mode:o}"


@attempt
def open_raw_device() -> str:
    for name in ("vda", "sda", "nvme0n1", "mem", "kmsg", "kvm", "fuse", "tty", "ptmx"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDWR))
        except OSError:
            continue
        return name
    raise Denied("none could be opened")


# Processes


@attempt
def read_environment_of_server() -> str:
    return read(f"/proc/{pid_of_victim()}/environ")


@attempt
def read_environment_of_parent() -> str:
    text = read(f"/proc/{os.getppid()}/environ") + read("/proc/1/environ")
    if "VICTIM" not in text and "HOSTNAME" not in text and "=" not in text:
        raise Denied("empty")
    return text


@attempt
def read_memory_of_first_process() -> str:
    with open("/proc/1/mem", "rb"):
        return "opened"


@attempt
def read_memory_of_server() -> str:
    with open(f"/proc/{pid_of_victim()}/mem", "rb"):
        return "opened"


@attempt
def see_other_processes() -> str:
    return read(f"/proc/{pid_of_victim()}/cmdline")


@attempt
def signal_server() -> None:
    os.kill(pid_of_victim(), signal.SIGCONT)


@attempt
def signal_server_by_descriptor() -> None:
    signal.pidfd_send_signal(os.pidfd_open(pid_of_victim()), signal.SIGCONT)


@attempt
def limit_server() -> None:
    resource.prlimit(pid_of_victim(), resource.RLIMIT_NOFILE, (3, 3))


@attempt
def slow_server_down() -> None:
    os.setpriority(os.PRIO_PROCESS, pid_of_victim(), 19)


@attempt
def slow_server_down_with_its_user() -> str:
    """0 stands for all of one's user too. Asks for what all have: it must harm nobody."""
    expect_server_s_uid()
    try:
        os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_PROCESS, 0))
    except OSError as error:
        if error.errno != errno.EACCES:  # said of a process that is slower already
            raise
        return f"went through them: {error}"
    return "set"


@attempt
def slow_server_s_disk_with_its_user() -> str:
    expect_server_s_uid()
    no_such_class = 7 << 13
    return reach("ioprio_set", 3, 0, no_such_class)  # IOPRIO_WHO_USER


def expect_server_s_uid() -> None:
    if os.stat(target("state")).st_uid != os.geteuid():
        raise Denied("the server is another user")


@attempt
def pin_server() -> None:
    os.sched_setaffinity(pid_of_victim(), {0})


@attempt
def limit_init() -> None:
    """What the parent has, the next run's worker inherits."""
    resource.prlimit(INIT, resource.RLIMIT_NOFILE, (3, 3))


@attempt
def slow_init_down() -> None:
    os.setpriority(os.PRIO_PROCESS, INIT, 19)


@attempt
def idle_init() -> None:
    os.sched_setscheduler(INIT, os.SCHED_IDLE, os.sched_param(0))


@attempt
def pin_init() -> None:
    os.sched_setaffinity(INIT, {0})


@attempt
def slow_init_s_disk() -> str:
    return reach("ioprio_set", 1, INIT, 3 << 13)  # IOPRIO_WHO_PROCESS, idle


@attempt
def read_memory_of_init() -> str:
    with open(f"/proc/{INIT}/mem", "rb"):
        return "opened"


@attempt
def take_descriptor_of_init() -> str:
    return reach("pidfd_getfd", os.pidfd_open(INIT), 0, 0)


@attempt
def open_namespace_of_init() -> str:
    """Those of another process can be had without /proc, to enter them or to look in."""
    init = os.pidfd_open(INIT)
    get_network = 0xFF04  # PIDFD_GET_NET_NAMESPACE, from Linux 6.11
    return f"descriptor {fcntl.ioctl(init, get_network, 0)}"


@attempt
def spare_init_from_the_killer() -> str:
    with open(f"/proc/{INIT}/oom_score_adj", "w") as file:
        file.write("0")
    return "written"


@attempt
def stop_init() -> str:
    """A signal that the kernel does not deliver is as good as one that it refuses."""
    os.kill(INIT, signal.SIGSTOP)
    return expect_init_stopped()


@attempt
def stop_init_by_its_name_on_a_pipe() -> str:
    """Who is named as owner of a descriptor gets the signal that is asked for."""
    read_end, write_end = os.pipe()
    set_signal = 10  # F_SETSIG, which Python has no name for
    fcntl.fcntl(read_end, set_signal, signal.SIGSTOP)
    fcntl.fcntl(read_end, fcntl.F_SETOWN, INIT)
    fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_ASYNC)
    os.write(write_end, b"x")
    fcntl.fcntl(read_end, fcntl.F_SETFL, 0)  # or its end would be told, too
    return expect_init_stopped()


def expect_init_stopped() -> str:
    for _ in range(3):  # it may reap once on the way to its stop
        if not is_reaped(leave_ended_orphan()):
            os.kill(INIT, signal.SIGCONT)
            return "nobody reaped any more"
    raise Denied("init goes on")


def is_reaped(orphan: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        for _ in range(100):
            os.kill(orphan, 0)  # until init has reaped it
            time.sleep(0.01)
        return False
    return True


def leave_ended_orphan() -> int:
    """Return the pid of a process that has ended as init's child, or is about to."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        orphan = os.fork()
        if orphan:
            os.write(write_end, b"%d" % orphan)
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(read_end, 20))


@attempt
def see_connections_of_init() -> str:
    """Init is in the host's network, and each process's folder shows the network that it is in."""
    port = f":{int(target('tcp_port')):04X} "
    text = Path(f"/proc/{INIT}/net/tcp").read_text()
    return next(line for line in text.splitlines() if port in line)


@attempt
def see_mounts_of_init() -> str:
    return read(f"/proc/{INIT}/mountinfo")


@attempt
def see_what_runs_before_have_used() -> str:
    """Init's times are those of all that it has reaped."""
    return read(f"/proc/{INIT}/stat")


@attempt
def see_group_of_init() -> str:
    return read(f"/proc/{INIT}/cgroup")


@attempt
def trace_server() -> str:
    return f"{call('ptrace', 0x4206, pid_of_victim(), 0, 0)}"  # PTRACE_SEIZE


@attempt
def trace_own_child() -> str:
    return reach("ptrace", 0, 0, 0, 0)  # PTRACE_TRACEME


@attempt
def read_server_by_process_vm() -> str:
    return reach("process_vm_readv", pid_of_victim(), 0, 0, 0, 0, 0)


@attempt
def take_descriptor_of_server() -> str:
    return reach("pidfd_getfd", -1, 0, 0)


@attempt
def compare_with_server() -> str:
    return reach("kcmp", os.getpid(), pid_of_victim(), 0, 0, 0)


@attempt
def attach_host_shared_memory() -> str:
    return f"segment {call('shmget', int(target('sysv_key')), 0, 0)}"


@attempt
def open_host_message_queue() -> str:
    return reach("mq_open", b"floom", 0, 0, 0)


# Network


@attempt
def connect_to_host() -> str:
    address = ("127.0.0.1", int(target("tcp_port")))
    with socket.create_connection(address, timeout=2) as connection:
        return f"{connection.getpeername()}"


@attempt
def connect_with_fast_open() -> str:
    fast_open = 0x20000000
    with socket.socket() as each:
        each.settimeout(2)
        sent = each.sendto(b"x", fast_open, ("127.0.0.1", int(target("tcp_port"))))
        return f"{sent} bytes"


@attempt
def connect_with_mptcp() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as each:
        each.settimeout(2)
        each.connect(("127.0.0.1", int(target("tcp_port"))))
        return "connected"


@attempt
def change_protocol_of_socket() -> None:
    with socket.socket() as each:
        try:
            each.setsockopt(socket.IPPROTO_TCP, 31, b"smc\0")
        except OSError as error:
            if error.errno in REFUSALS:
                raise


@attempt
def listen_on_host() -> None:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        each.listen()


def open_socket(family: int, kind: int, protocol: int = 0) -> str:
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        raise Denied(f"the kernel has none: {error}") from error
    return "opened"


@attempt
def open_udp_socket() -> str:
    return open_socket(socket.AF_INET, socket.SOCK_DGRAM)


@attempt
def open_raw_socket() -> str:
    return open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attempt
def open_packet_socket() -> str:
    return open_socket(socket.AF_PACKET, socket.SOCK_RAW)


@attempt
def open_netlink_socket() -> str:
    return open_socket(socket.AF_NETLINK, socket.SOCK_RAW)


@attempt
def open_vsock() -> str:
    return open_socket(socket.AF_VSOCK, socket.SOCK_STREAM)


@attempt
def open_crypto_socket() -> str:
    return open_socket(socket.AF_ALG, socket.SOCK_SEQPACKET)


@attempt
def connect_unix_socket() -> None:
    with socket.socket(socket.AF_UNIX) as each:
        each.connect(target("unix_path"))


@attempt
def connect_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as each:
        each.connect("\0" + target("abstract_name"))


@attempt
def send_from_socket_pair() -> None:
    """A connected datagram socket may still be given another address."""
    ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", target("datagram_path"))


@attempt
def reconnect_stream_pair() -> None:
    ours, _theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_RDWR)
    ours.connect(target("unix_path"))


# Kernel


@attempt
def mount_file_system() -> str:
    return reach("mount", b"x", b"/tmp", b"tmpfs", 0, 0)


@attempt
def remount_root_writable() -> str:
    return reach("mount", 0, b"/", 0, 0x20 | 0x1000, 0)  # MS_REMOUNT | MS_BIND


@attempt
def open_file_system_context() -> str:
    return reach("fsopen", b"tmpfs", 0)


@attempt
def copy_mount_tree() -> str:
    return reach("open_tree", -100, b"/", 1)


@attempt
def change_root() -> str:
    return reach("pivot_root", b".", b".")


@attempt
def enter_user_namespace() -> str:
    return f"{call('unshare', 0x10000000)}"


@attempt
def enter_network_namespace() -> str:
    return f"{call('unshare', 0x40000000)}"


@attempt
def clone_into_user_namespace() -> str:
    pid = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return "cloned"


@attempt
def clone_by_new_call() -> str:
    return reach("clone3", struct.pack("=8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64)


@attempt
def join_namespace() -> str:
    return reach("setns", -1, 0)


@attempt
def use_io_uring() -> str:
    return reach("io_uring_setup", 4, ctypes.create_string_buffer(120))


@attempt
def use_kernel_keys() -> str:
    return reach("keyctl", 0, -3, 1)  # KEYCTL_GET_KEYRING_ID, of the session


@attempt
def load_bpf_program() -> str:
    return reach("bpf", 0, b"\0" * 128, 128)


@attempt
def open_performance_counter() -> str:
    attributes = struct.pack("=IIQ", 1, 112, 0) + bytes(96)  # software, cpu clock
    return reach("perf_event_open", attributes, 0, -1, -1, 0)


@attempt
def handle_page_faults() -> str:
    return reach("userfaultfd", 1)  # UFFD_USER_MODE_ONLY


@attempt
def type_into_terminal() -> str:
    try:
        fcntl.ioctl(0, 0x5412, b"x")
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        return f"looked at: {error}"
    return "typed"


@attempt
def type_into_terminal_with_high_bits() -> str:
    number = 16 if COLUMN == 0 else 29
    try:
        call(number, 0, 0x1_0000_5412, b"x")
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        return f"looked at: {error}"
    return "typed"


@attempt
def switch_off_randomisation() -> str:
    return reach("personality", 0x0040000)


@attempt
def load_module() -> str:
    return reach("init_module", 0, 0, 0)


@attempt
def unload_module() -> str:
    return reach("delete_module", b"none", 0)


@attempt
def reboot_host() -> str:
    return reach("reboot", 0, 0, 0, 0)  # wrong magic numbers: it would do nothing


@attempt
def rename_host() -> str:
    return reach("sethostname", 0, 1)


@attempt
def set_clock() -> str:
    return reach("settimeofday", 0, 0)


@attempt
def add_swap() -> str:
    return reach("swapon", b"/nothing", 0)


@attempt
def use_second_call_table() -> str:
    if COLUMN != 0:
        raise Denied("not on this architecture")
    return f"pid {call(0x4000_0000 + 39)}"


@attempt
def press_system_request_key() -> None:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))


@attempt
def change_kernel_setting() -> str:
    for name in ("kernel/core_pattern", "net/ipv4/ip_forward", "kernel/shmmax", "vm/swappiness"):
        try:
            os.close(os.open(f"/proc/sys/{name}", os.O_WRONLY))
        except OSError:
            continue
        return name
    raise Denied("none could be opened")


# Privileges


@attempt
def run_set_uid_program() -> str:
    done = subprocess.run([target("suid_program"), "-u"], capture_output=True, text=True)
    if done.stdout.strip() != "0" or os.geteuid() == 0:
        raise Denied(f"id says {done.stdout.strip()}")
    return "root"


@attempt
def become_root() -> None:
    os.setuid(0)
    if os.geteuid() != 0 or "0000000000000000" in capabilities():
        raise Denied("no power in it")


def capabilities() -> str:
    status = Path("/proc/self/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("CapEff"))


@attempt
def hold_capabilities() -> str:
    if "0000000000000000" in capabilities():
        raise Denied("none")
    return capabilities()


@attempt
def change_groups() -> None:
    os.setgroups([0])


@attempt
def raise_limits() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard + 1000))


@attempt
def dump_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@attempt
def read_undeclared_environment() -> list[str]:
    declared = {"PATH", "HOME", "TMPDIR", "LC_CTYPE", "DECLARED"}
    if not os.environ.keys() - declared:  # noqa: TID251 - a worker looks
        raise Denied("nothing there")
    return sorted(os.environ.keys() - declared)  # noqa: TID251 - a worker looks


# Limits


@attempt
def exhaust_memory() -> None:
    bytearray(1 << 30)


@attempt
def exhaust_memory_by_mapping() -> None:
    mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


@attempt
def hide_memory_in_files() -> str:
    return reach("memfd_create", b"x", 0)


@attempt
def hide_memory_in_segments() -> str:
    return f"{call('shmget', 0, 1 << 20, 0o1600)}"


@attempt
def exhaust_processes() -> str:
    pids = []
    try:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                time.sleep(SECONDS)
                os._exit(0)
            pids.append(pid)
        return f"{len(pids)} processes"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@attempt
def exhaust_descriptors() -> None:
    for _ in range(5000):
        os.open("/dev/null", os.O_RDONLY)


@attempt
def exhaust_disk_with_one_file() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("large", "wb") as file:
        file.truncate(1 << 40)


@attempt
def exhaust_shared_memory() -> None:
    fill("/dev/shm/large")


@attempt
def exhaust_tmp() -> None:
    fill("/tmp/large")


def fill(path: str) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            file.writelines(b"x" * (1 << 20) for _ in range(96))
    finally:
        if os.path.exists(path):
            os.unlink(path)


@attempt
def exhaust_inodes_of_tmp() -> None:
    made = []
    try:
        for number in range(20_000):
            os.mknod(f"/tmp/{number}")
            made.append(number)
    finally:
        for number in made:
            os.unlink(f"/tmp/{number}")


def judge(name: str) -> dict[str, str]:
    """Run one attempt in a child and say how it went."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        os.write(write_end, json.dumps(outcome(name)).encode())
        os._exit(0)
    os.close(write_end)
    data = b""
    while part := os.read(read_end, 65536):
        data += part
    os.close(read_end)
    _, status = os.waitpid(pid, 0)
    if data:
        return dict(json.loads(data))
    return {"name": name, "verdict": "denied", "detail": f"ended with status {status}"}


def outcome(name: str) -> dict[str, str]:
    try:
        loot = ATTEMPTS[name]()
    except BaseException as error:  # noqa: BLE001 - all is a verdict here
        return {"name": name, "verdict": "denied", "detail": f"{type(error).__name__}: {error}"}
    return {"name": name, "verdict": "allowed", "detail": str(loot)[:200]}


def main() -> None:
    """Try all, or those named."""
    TARGETS.update(json.loads(Path(sys.argv[1]).read_text()))
    for name in sys.argv[2:] or ATTEMPTS:
        print(json.dumps(judge(name)), flush=True)


if __name__ == "__main__":
    main()
