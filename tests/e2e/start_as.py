"""Starts the server as another kind of host would have it.

    python start_as.py SITUATION PROGRAM ARGUMENT...

`docker` refuses what Docker's default profile does, `user` is nobody,
`docker_user` both. Executes the program then.
"""

# ruff: noqa: S606
from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lib.sandbox.attacks.docker_profile import simulate_docker_default

NOBODY = 65534

if __name__ == "__main__":
    situation, *command = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))  # as a login has it
    if situation.startswith("docker"):
        simulate_docker_default()
    if situation.endswith("user") and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.execv(command[0], command)
