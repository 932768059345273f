"""Numbers of system calls against the headers of this host, where it has them."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from lib.sandbox import syscalls

HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"__NR_(\w+)\s+(\d+)"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"__NR(?:3264)?_(\w+)\s+(\d+)"),
}


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_numbers_are_the_kernel_s(architecture: str) -> None:
    path, pattern = HEADERS[architecture]
    if not path.exists():
        pytest.skip(f"no {path}")
    known = {name: int(number) for name, number in re.findall(pattern, path.read_text())}
    for name in syscalls.TABLE:
        number = syscalls.find_number(name, architecture)
        if name in known:
            assert number == known[name], name
        else:  # younger than the headers, or another architecture's
            assert number is None or number > max(known[n] for n in ("clone3", "memfd_secret"))


def test_a_refusal_has_its_errno() -> None:
    with pytest.raises(OSError, match="setns") as caught:
        syscalls.call("setns", -1, 0)
    assert caught.value.errno == errno.EBADF


def test_arguments_are_whole_registers() -> None:
    # With 32 bits the flag would be 0, which is allowed.
    with pytest.raises(OSError, match="unshare") as caught:
        syscalls.call("unshare", 1 << 32)
    assert caught.value.errno == errno.EINVAL


def test_a_call_of_another_architecture_is_an_os_error() -> None:
    if os.uname().machine != "aarch64":
        pytest.skip("x86-64 has them all")
    with pytest.raises(syscalls.UnknownSyscall):
        syscalls.call("iopl", 0)
