"""Plays the supervisor: confines one command and waits for it.

    python -I launch.py CONFIGURATION.json

It is a process of its own, because a test's process has threads, keeps its
privileges, and must not be held to a filter for good. Prints one JSON object.
"""

# Its output is its report.
# ruff: noqa: T201, S606
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

CONFIGURATION = json.loads(Path(sys.argv[1]).read_text())
sys.path.insert(0, CONFIGURATION["source"])

from docker_profile import simulate_docker_default  # type: ignore[import-not-found]  # noqa: E402

from lib.sandbox import identity, process_tree, syscalls  # noqa: E402
from lib.sandbox.confinement import ConfinementError, Enclosure, Tenant  # noqa: E402
from lib.sandbox.host_view import HostView  # noqa: E402
from lib.sandbox.init_process import InitProcess, Order  # noqa: E402
from lib.sandbox.probe import probe  # noqa: E402
from lib.sandbox.rlimits import Ceilings  # noqa: E402

MIB = 1 << 20
NOBODY = 65534


def main() -> None:
    """Set the host's side up, confine, run, report."""
    take_identity()
    targets = open_host_targets()
    work = Path(CONFIGURATION["work"])
    (work / "targets.json").write_text(json.dumps(targets | CONFIGURATION["targets"]))
    found = probe([CONFIGURATION["command"][0], str(work)])
    layers = replace(found.layers, **CONFIGURATION["layers"])
    enclosure = Enclosure(
        layers=layers,
        view=HostView.find(CONFIGURATION["readable"]),
        stage=CONFIGURATION["sockets"],
        home=str(work),
        hidden=tuple(CONFIGURATION["hidden"]),
        scratch_bytes=64 * MIB,
    )
    tenant = Tenant(
        work=str(work),
        readable=tuple(CONFIGURATION["environment_folders"]),
        ceilings=Ceilings(
            memory_bytes=512 * MIB,
            file_bytes=512 * MIB,
            # Without an id of the run's own others would count too.
            tasks=64 if layers.uid or layers.user_namespace or os.geteuid() == 0 else None,
        ),
        uid=CONFIGURATION["uid"] if layers.uid else None,
    )
    if layers.uid:
        identity.give(str(work), CONFIGURATION["uid"], CONFIGURATION["uid"])
    enclosure.get_ready()
    code, error, left = run(enclosure, tenant)
    probed = {name: getattr(found, name) for name in PROPERTIES}
    report = {"code": code, "error": error, "left": left, "probe": probed, "facts": found.facts}
    print(json.dumps({**report, "layers": asdict(layers)}))


PROPERTIES = ("files", "network", "processes", "privileges", "limits")


def take_identity() -> None:
    syscalls.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, as the supervisor is
    if CONFIGURATION["docker"]:
        simulate_docker_default()
    if CONFIGURATION["as_nobody"] and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        syscalls.prctl(4, 0)  # PR_SET_DUMPABLE, as the zygote is
    os.umask(0o022)


def open_host_targets() -> dict[str, object]:
    """Start what an attack could reach outside: a process, sockets, a segment."""
    folder = Path(CONFIGURATION["sockets"])
    listener = socket.create_server(("127.0.0.1", 0))
    paths = {name: str(folder / name) for name in ("stream", "datagram")}
    abstract = f"floom-attack-{os.getpid()}"
    stream, datagram = (
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    )
    named = socket.socket(socket.AF_UNIX)
    stream.bind(paths["stream"])
    datagram.bind(paths["datagram"])
    named.bind("\0" + abstract)
    for path in paths.values():
        Path(path).chmod(0o777)
    for each in (stream, named):
        each.listen()
    OPEN.extend((listener, stream, datagram, named))
    victim = subprocess.Popen(["/bin/sleep", "60"], env={"VICTIM_SECRET": "x", "PATH": "/bin"})
    OPEN.append(victim)
    return {
        "victim": victim.pid,
        "tcp_port": listener.getsockname()[1],
        "unix_path": paths["stream"],
        "datagram_path": paths["datagram"],
        "abstract_name": abstract,
        "sysv_key": CONFIGURATION["sysv_key"],
    }


OPEN: list[object] = []


def run(enclosure: Enclosure, tenant: Tenant) -> tuple[int, str, int]:
    """Return the exit code, why it did not start, and how many processes it left."""
    init = InitProcess.fork(enclosure)
    if isinstance(init, Order):
        become_worker(enclosure, tenant, init)
    failure, failure_end = os.pipe()
    output = os.open(CONFIGURATION["output"], os.O_WRONLY | os.O_APPEND)
    order = Order(output, output, failure_end, None, None, uid=tenant.uid, group=None)
    order.send(init.line)
    os.close(failure_end)
    with os.fdopen(failure) as file:
        error = file.read()
    ended = init.ended()
    victim = OPEN[-1]
    assert isinstance(victim, subprocess.Popen)
    known = {victim.pid, init.pid}
    left = [each for each in process_tree.descendants(os.getpid()) if each not in known]
    process_tree.end_below(os.getpid())
    return (1 if ended is None else ended.exit_code), error, len(left)


def become_worker(enclosure: Enclosure, tenant: Tenant, order: Order) -> NoReturn:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(order.stdout, 1)
        os.dup2(order.stderr, 2)
        shell = enclosure.build(uid=tenant.uid)
        enclosure.admit(replace(tenant, keep=(order.failure,)), shell)
        command = CONFIGURATION["command"]
        os.execve(command[0], command, CONFIGURATION["environment"])
    except (ConfinementError, OSError) as error:
        os.write(order.failure, str(error).encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
