"""A hostile worker in a real server, on each kind of host: whatever it tries is denied."""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lib.sandbox.process_tree import children
from tests.e2e.server import ROOT, ServerProcess
from tests.e2e.situations import Situation
from tests.lib.sandbox.attacks import attempts
from tests.lib.sandbox.attacks.stage import HERE, NEEDED_ABI, lost
from tests.lib.sandbox.attacks.successors import LEAVES_ALL_IT_CAN, LOOKS_ROUND

# What ends the run itself, and which variables it has, is tried elsewhere.
ELSEWHERE = ("exhaust_", "hide_memory_", "read_undeclared_environment")
TRIED = [name for name in attempts.ATTEMPTS if not name.startswith(ELSEWHERE)]
ALLOWED: dict[Situation, set[str]] = {
    "root": {"listen_on_host"},  # on a loopback of its own
    "user": {"listen_on_host"},
    "docker": set(),
    "docker_user": set(),
}
RUN = (
    "import runpy, sys\n"
    "sys.argv = ['attempts.py', 'targets.json', *open('names').read().split()]\n"
    "runpy.run_path('attempts.py', run_name='__main__')\n"
)
SLEEP = "import time\nopen('secret', 'w').write('of another run')\nprint('up')\ntime.sleep(60)\n"
HOLDS_DESCRIPTORS = """
import os, socket, time
null = os.open("/dev/null", os.O_RDONLY)
pairs = []
try:
    while len(pairs) < 100:
        pairs.append(socket.socketpair())
        pairs[-1][0].setblocking(False)
        for _ in range(8):
            socket.send_fds(pairs[-1][0], [b"x"], [null] * 250)
except OSError as error:
    print(error)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(situated_server: ServerProcess) -> ServerProcess:
    return situated_server


def write_worker(server: ServerProcess, worker_id: str, **files: str) -> None:
    server.add_worker(worker_id, "limits: {processes: 200}\n", **files)


def host_targets(
    server: ServerProcess, victim: int, other_run: str, folder: Path, stack: ExitStack
) -> Any:
    """Start what an attack could reach outside: sockets, files left over; the victim is a pid."""
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract = f"floom-e2e-{os.getpid()}"
    listeners[0].bind(str(folder / "stream"))
    listeners[1].bind("\0" + abstract)
    datagram.bind(str(folder / "datagram"))
    for each in listeners:
        each.listen()
    for path in folder.iterdir():
        path.chmod(0o777)
    leftovers = [Path(place) / f"floom-e2e-{os.getpid()}" for place in ("/dev/shm", "/tmp")]
    for path in leftovers:
        path.write_text("left over")
        stack.callback(path.unlink)
    for each in (*listeners, datagram):
        stack.callback(each.close)
    return {
        "state": str(server.data / "floom.sqlite3"),
        "other_run": str(server.data / "runs" / other_run / "1" / "work"),
        "engine": str(ROOT / "lib" / "sandbox" / "wire.py"),
        "environment": str(server.data / "blobs"),
        "suid_program": "/usr/bin/su",
        "shared_memory": str(leftovers[0]),
        "temporary": str(leftovers[1]),
        "victim": victim,
        "tcp_port": server.port,
        "unix_path": str(folder / "stream"),
        "datagram_path": str(folder / "datagram"),
        "abstract_name": abstract,
        "sysv_key": 0,
    }


def zygote_of(server: ServerProcess) -> int:
    assert server.process is not None
    commands = {pid: Path(f"/proc/{pid}/cmdline") for pid in children(server.process.pid)}
    (zygote,) = [pid for pid, command in commands.items() if b"zygote" in command.read_bytes()]
    return zygote


@pytest.mark.parametrize("victim", ["server", "zygote"])
def test_every_attack_on_a_real_server_is_denied(
    server: ServerProcess, situation: Situation, victim: str
) -> None:
    if properties := lost(NEEDED_ABI[situation]):  # the server would not outlive it
        pytest.skip(f"this kernel's Landlock does not hold {', '.join(sorted(properties))}")
    assert server.process is not None
    pid = server.process.pid if victim == "server" else zygote_of(server)
    sockets = server.data.parent / f"sockets-of-{victim}"
    sockets.mkdir()
    sockets.chmod(0o755)
    with ExitStack() as stack:
        write_worker(server, "sleeper", run_py=SLEEP)
        server.reload()
        other = server.start_run("sleeper")
        server.until(lambda: server.get(other), lambda run: bool(run["logs"]))
        targets = host_targets(server, pid, other, sockets, stack)
        write_worker(server, "hostile", run_py=RUN, names="\n".join(TRIED))
        folder = server.workspace / "workers" / "hostile"
        shutil.copy(HERE / "attempts.py", folder)
        (folder / "targets.json").write_text(json.dumps(targets))
        server.reload()

        run = server.finished(server.start_run("hostile"))

        server.client.post(f"/runs/{other}/cancel")
        server.finished(other)
    assert run["status"] == "completed", run["error"]
    assert "none" not in run["sandbox"].values()
    lines = [json.loads(line["message"]) for line in run["logs"] if line["stream"] == "stdout"]
    verdicts = {line["name"]: line["verdict"] for line in lines}
    assert verdicts.keys() == set(TRIED)
    allowed = {name for name, verdict in verdicts.items() if verdict == "allowed"}
    assert allowed == ALLOWED[situation], [each for each in lines if each["name"] in allowed]


def test_a_run_finds_nothing_of_those_before(server: ServerProcess, situation: Situation) -> None:
    write_worker(server, "leaver", run_py=LEAVES_ALL_IT_CAN)
    write_worker(server, "looker", run_py=LOOKS_ROUND)
    server.reload()
    seen = []
    for _ in range(4):
        looked = server.finished(server.start_run("looker"))
        assert looked["status"] == "completed", looked["error"]
        seen.append(json.loads(looked["logs"][-1]["message"]))
        left = server.finished(server.start_run("leaver"))
        assert left["status"] == "completed", left["error"]
    uids = [each.pop("uid") for each in seen]
    for each in seen:
        assert each["variables"], situation
        assert (each["files"], each["segment"], each["others"]) == ([], False, [])
        assert each == seen[0]
    if situation in {"root", "docker"}:
        assert len(set(uids)) == len(uids)


def test_descriptors_that_a_run_holds_under_way_keep_no_other_from_starting(
    server: ServerProcess,
) -> None:
    """The kernel counts them by user; who has too many can pass no descriptor on."""
    write_worker(server, "holder", run_py=HOLDS_DESCRIPTORS)
    write_worker(server, "honest", run_py="print('on')\n")
    server.reload()
    holder = server.start_run("holder")
    server.until(lambda: server.get(holder), lambda run: bool(run["logs"]))
    runs = [server.finished(server.start_run("honest")) for _ in range(4)]
    server.client.post(f"/runs/{holder}/cancel")
    said = server.finished(holder)["logs"][0]["message"]
    assert "Too many references" in said
    assert [run["error"] for run in runs] == [None] * 4
