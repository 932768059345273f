"""Installs where the kernel refuses a layer: `install_hampered.py CONFIGURATION`, as JSON.

A process of its own, because the refusals hold for good.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from lib.environments.recipe import InstallError
from lib.sandbox import bpf, seccomp, syscalls
from tests.lib.environments.place import Place, Recorded, requirements
from tests.lib.sandbox.attacks.docker_profile import simulate_docker_default

NO_NEW_PRIVS = 38  # PR_SET_NO_NEW_PRIVS
REFUSED = 7  # exit status: the installation failed
ALLOW, ERRNO = 0x7FFF_0000, 0x0005_0000


def main() -> int:
    """Refuse, install, print what the customer was told."""
    given = json.loads(sys.argv[1])
    syscalls.prctl(NO_NEW_PRIVS, 1)
    simulate_docker_default()
    if not given["landlock"]:
        refuse_landlock()
    place = Place(Path(given["root"]), given["variables"], isolation=given["isolation"])
    customer = Recorded()
    try:
        place.install(
            requirements(given["wanted"], source_builds=given["source_builds"]), customer=customer
        )
    except InstallError as error:
        print(error)  # noqa: T201
        return REFUSED
    finally:
        print(customer.text)  # noqa: T201
    return 0


def refuse_landlock() -> None:
    """As a kernel before 5.13 does."""
    number = syscalls.find_number("landlock_create_ruleset", syscalls.machine())
    assert number is not None
    program: list[bpf.Line] = [
        bpf.load(0),
        bpf.if_equal(number, then="absent"),
        bpf.give_back(ALLOW),
        bpf.Label("absent"),
        bpf.give_back(ERRNO | errno.ENOSYS),
    ]
    seccomp.install(bpf.assemble(program))


if __name__ == "__main__":
    sys.exit(main())
