"""What Docker's default profile refuses, for a host that does not run in Docker.

Installed in a parent, it holds for all below: the same refusals that the engine
would meet in a container without `--privileged`.
"""

from __future__ import annotations

import errno
import os

from lib.sandbox import bpf, privileges, seccomp, syscalls

_REFUSED = (
    "mount", "umount2", "pivot_root", "unshare", "setns", "fsopen", "fsconfig", "fsmount",
    "fspick", "move_mount", "open_tree", "mount_setattr", "bpf", "keyctl", "add_key",
    "request_key", "perf_event_open", "userfaultfd", "sethostname",
)  # fmt: skip
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_NEW_NAMESPACES = 0x7E02_0000


def simulate_docker_default() -> None:
    """Refuse namespaces and mounts to this process and all it starts, for good."""

    def number(name: str) -> int:
        found = syscalls.find_number(name, syscalls.machine())
        assert found is not None
        return found

    program = bpf.assemble(
        [
            bpf.load(0),
            bpf.if_equal(number("clone3"), then="absent"),
            bpf.if_equal(number("clone"), then="clone"),
            *(bpf.if_equal(number(name), then="refuse") for name in _REFUSED),
            bpf.give_back(_ALLOW),
            bpf.Label("clone"),
            bpf.load(16),
            bpf.if_any_bit(_NEW_NAMESPACES, then="refuse"),
            bpf.give_back(_ALLOW),
            bpf.Label("refuse"),
            bpf.give_back(_ERRNO | errno.EPERM),
            bpf.Label("absent"),
            bpf.give_back(_ERRNO | errno.ENOSYS),
        ]
    )
    if os.geteuid() != 0:  # else the engine does it, which has the right to
        privileges.refuse_new_privileges()
    seccomp.install(program)
