"""The filter, judged by a small machine of our own: every call, both architectures."""

from __future__ import annotations

import errno
import struct

import pytest

from lib.sandbox import seccomp, syscalls

ALLOW = 0x7FFF_0000
DENY = 0x0005_0000 | errno.EPERM
ABSENT = 0x0005_0000 | errno.ENOSYS
PRETEND = 0x0005_0000
KILL = 0x8000_0000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ARCHITECTURES = ["x86_64", "aarch64"]
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
STREAM, DATAGRAM, RAW, SEQPACKET = 1, 2, 3, 5
CLOEXEC = 0o2000000


def run(program: bytes, data: bytes) -> int:
    """Interpret classic BPF as the kernel would."""
    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        code, then, otherwise, value = lines[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return int(value)
        else:
            taken = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += then if taken else otherwise


class Filter:
    """A built program that can be asked."""

    def __init__(self, architecture: str, sockets: seccomp.Sockets = "stream", **options: bool):
        self._architecture = architecture
        self._program = seccomp.build(sockets, architecture=architecture, **options)

    def __call__(self, name: str | int, *arguments: int, audit: int | None = None) -> int:
        number = name if isinstance(name, int) else syscalls.find_number(name, self._architecture)
        assert number is not None
        padded = (*arguments, *[0] * 6)[:6]
        audit = AUDIT[self._architecture] if audit is None else audit
        return run(self._program, struct.pack("=IIQ6Q", number, audit, 0, *padded))


@pytest.fixture(params=ARCHITECTURES)
def judge(request: pytest.FixtureRequest) -> Filter:
    return Filter(request.param)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_listed_call_gets_its_verdict_and_no_other_does(architecture: str) -> None:
    judge = Filter(architecture)
    expected = {
        syscalls.find_number(name, architecture): verdict
        for names, verdict in ((seccomp.DENIED, DENY), (seccomp.ABSENT, ABSENT))
        for name in names
    }
    # These look at their arguments, which are all zero here.
    expected[syscalls.find_number("socket", architecture)] = DENY
    expected[syscalls.find_number("socketpair", architecture)] = DENY
    verdicts = {number: judge(number) for number in range(syscalls.LAST_KNOWN + 1)}
    assert {n: v for n, v in verdicts.items() if v != ALLOW} == {
        n: v for n, v in expected.items() if n is not None
    }


def test_calls_younger_than_the_list_do_not_exist(judge: Filter) -> None:
    assert judge(syscalls.LAST_KNOWN + 1) == ABSENT
    assert judge(1000) == ABSENT


def test_another_architecture_s_call_ends_the_process(judge: Filter) -> None:
    assert judge(1, audit=0x4000_0003) == KILL  # i386


def test_the_x32_table_ends_the_process() -> None:
    assert Filter("x86_64")(0x4000_0000 + 39) == KILL


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ((AF_INET, STREAM), ALLOW),
        ((AF_INET6, STREAM | CLOEXEC, 6), ALLOW),
        ((AF_INET, DATAGRAM), DENY),
        ((AF_INET, RAW), DENY),
        ((AF_INET, STREAM, 262), DENY),  # MPTCP
        ((AF_INET, STREAM, 132), DENY),  # SCTP
        ((AF_UNIX, STREAM), DENY),
        ((AF_NETLINK, RAW), DENY),
        ((AF_PACKET, RAW), DENY),
        ((AF_VSOCK, STREAM), DENY),
        ((AF_UNIX | 1 << 32, STREAM), DENY),
    ],
)
def test_only_tcp_sockets(judge: Filter, arguments: tuple[int, ...], verdict: int) -> None:
    assert judge("socket", *arguments) == verdict


def test_no_socket_at_all_where_nothing_would_hold_it() -> None:
    assert Filter("x86_64", "none")("socket", AF_INET, STREAM) == DENY


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [(STREAM | CLOEXEC, ALLOW), (SEQPACKET, ALLOW), (DATAGRAM, DENY), (RAW, DENY)],
)
def test_pairs_that_stay_pairs(judge: Filter, kind: int, verdict: int) -> None:
    assert judge("socketpair", AF_UNIX, kind) == verdict


@pytest.mark.parametrize(
    "flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_makes_threads_and_processes_but_no_namespaces(judge: Filter, flag: int) -> None:
    assert judge("clone", flag | 17) == DENY
    assert judge("clone", 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert judge("clone", 0x1200011) == ALLOW  # what fork does


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x5423, 0xFFFF_0000_0000_5412])
def test_terminal_requests_by_their_low_bits(judge: Filter, request_number: int) -> None:
    assert judge("ioctl", 0, request_number) == DENY
    assert judge("ioctl", 0, 0x5401) == ALLOW


def test_personality_may_be_asked_for_only(judge: Filter) -> None:
    assert judge("personality", 0xFFFFFFFF) == ALLOW
    assert judge("personality", 0x0040000) == DENY


def test_no_connecting_while_sending(judge: Filter) -> None:
    fast_open = 0x20000000
    assert judge("sendto", 0, 0, 0, fast_open) == DENY
    assert judge("sendmsg", 0, 0, fast_open) == DENY
    assert judge("sendmmsg", 0, 0, 0, fast_open) == DENY
    assert judge("sendto", 0, 0, 0, 0x4000) == ALLOW


def test_a_tcp_socket_stays_one(judge: Filter) -> None:
    assert judge("setsockopt", 3, 6, 31) == DENY
    assert judge("setsockopt", 3, 6, 1) == ALLOW


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_shared_files_owners_and_modes_are_safe(architecture: str) -> None:
    judge = Filter(architecture, shares_files=True)
    assert judge("fchmodat") == PRETEND
    assert judge("fchownat") == DENY
    assert judge("setxattr") == DENY
    assert judge("inotify_add_watch", 3, 4096, 0xFFF) == DENY


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_a_shared_uid_limits_of_others_are_safe(architecture: str) -> None:
    judge = Filter(architecture, shares_uid=True)
    assert judge("fchmodat") == ALLOW
    assert judge("prlimit64", 0) == ALLOW
    assert judge("prlimit64", 4711) == DENY
    assert judge("setpriority", 0, 0, 5) == ALLOW
    assert judge("setpriority", 0, 4711, 5) == DENY
    assert judge("setpriority", 1, 0, 5) == DENY  # PRIO_PGRP
    assert judge("setpriority", 2, 0, 5) == DENY  # PRIO_USER
    assert judge("ioprio_set", 1, 0, 5) == ALLOW
    assert judge("ioprio_set", 1, 4711, 5) == DENY
    assert judge("ioprio_set", 2, 0, 5) == DENY
    assert judge("ioprio_set", 3, 0, 5) == DENY  # IOPRIO_WHO_USER
    assert judge("sched_setaffinity", 1) == DENY


def test_with_shared_files_times_change_by_descriptor_only() -> None:
    judge = Filter("x86_64", shares_files=True)
    assert judge("utimensat", 3, 0) == ALLOW
    assert judge("utimensat", 3, 4096) == PRETEND
    assert judge("utimensat", 3, 1 << 32) == PRETEND  # an address, though its low half is 0
    assert judge("futimesat", 3, 4096) == PRETEND
    assert judge("utime", 4096) == PRETEND
    assert judge("utimes", 4096) == PRETEND
    assert Filter("aarch64", shares_files=True)("utimensat", 3, 1 << 32) == PRETEND


BY_PATH = ["chmod", "creat", "mkdir", "mknod"]
AT_FOLDER = ["fchmodat", "fchmodat2", "mkdirat", "mknodat"]


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6000, 0o104755, 0o4755 | 1 << 32])
@pytest.mark.parametrize("shares_files", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_mode_has_set_id_bits(architecture: str, shares_files: bool, bits: int) -> None:
    judge = Filter(architecture, shares_files=shares_files)
    assert judge("fchmod", 3, bits) == DENY
    assert judge("fchmod", 3, 0o1777) == ALLOW
    for name in AT_FOLDER:
        assert judge(name, 3, 4096, bits) == DENY
        pretends = shares_files and name.startswith("fchmod")
        assert judge(name, 3, 4096, 0o1777) == (PRETEND if pretends else ALLOW)
    if architecture == "x86_64":
        for name in BY_PATH:
            assert judge(name, 4096, bits) == DENY


@pytest.mark.parametrize("creates", [0o100, 0o20200000, 0o1101])
def test_a_file_is_not_created_with_set_id_bits(judge: Filter, creates: int) -> None:
    assert judge("openat", 3, 4096, creates, 0o4644) == DENY
    assert judge("openat", 3, 4096, creates, 0o644) == ALLOW
    assert judge("openat", 3, 4096, 0, 0o6777) == ALLOW  # noise: nothing is created
    assert judge("openat2", 3, 4096, 4096, 24) == ABSENT


def test_the_older_open_looks_at_its_mode_too() -> None:
    judge = Filter("x86_64")
    assert judge("open", 4096, 0o101, 0o4644) == DENY
    assert judge("open", 4096, 0o101, 0o644) == ALLOW
    assert judge("open", 4096, 0, 0o6777) == ALLOW
