"""The gate as a process: what it keeps, what it gives up, when it ends."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import pytest

from lib.sandbox.gate.settings import GateSettings
from tests.lib.sandbox.conftest import only_root_sees_descriptors
from tests.lib.sandbox.gate.internet import PUBLIC
from tests.lib.sandbox.gate.running import DEADLINE_SECONDS, read_all, status_of, upstream
from tests.lib.sandbox.gate.test_api import AUTHORIZATION, PATHS, RUN, Server, problem

UID = 61_234
ROOT = Path(__file__).resolve().parents[4]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class Gate:
    """A gate below a process that stands for its supervisor."""

    def __init__(self, settings: GateSettings, **given: object) -> None:
        argument = json.dumps({"settings": asdict(settings), **given})
        script = str(Path(__file__).with_name("supervisor.py"))
        self._supervisor = subprocess.Popen(
            [sys.executable, script, argument],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._supervisor.stdout is not None
        self.pid, self.api_port, self.proxy_port = json.loads(self._supervisor.stdout.readline())
        self._pidfd = os.pidfd_open(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, port: int, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as client:
            client.sendall(request)
            return read_all(client)

    def log(self) -> bytes:
        head = "\r\n".join([f"POST {PATHS[0]} HTTP/1.1", AUTHORIZATION, "Content-Length: 0"])
        return self.ask(self.api_port, head.encode() + b"\r\n\r\n")

    def told(self) -> str:
        """End the supervisor and return what the gate told it."""
        return self._supervisor.communicate(b"x", timeout=DEADLINE_SECONDS)[0].decode()

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def end(self) -> None:
        """Kill the supervisor; the gate must follow."""
        self._supervisor.kill()
        self._supervisor.communicate()
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd)
            assert poll.poll(DEADLINE_SECONDS * 1000), "the gate outlived its supervisor"
            os.close(self._pidfd)
            self._pidfd = -1


def settings(path: Path | None = None, **fields: Any) -> GateSettings:
    socket_path = str(path) if path else None
    fields.setdefault("network", "tests.lib.sandbox.gate.loopback_network")
    return GateSettings(RUN, api_socket=socket_path, **fields)


@pytest.fixture
def server(tmp_path: Path):
    """The server's socket in a folder that others may pass, within one that they may not."""
    (tmp_path / "private").mkdir(mode=0o700)
    folder = tmp_path / "private" / "gate"
    folder.mkdir()
    folder.chmod(0o711)
    server = Server(folder / "api.sock")
    server.start()
    server.path.chmod(0o666)
    yield server
    server.stop()


def test_it_serves_both_listeners_and_tells_of_refusals(server):
    with upstream(lambda connection: connection.sendall(b"hello")) as port:
        gate = Gate(
            settings(server.path, allow=["a.example"]),
            names={"a.example": [PUBLIC]},
            places=[[PUBLIC, 443, port]],
        )
        with gate:
            assert status_of(gate.log()) == 204
            answer = gate.ask(gate.proxy_port, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
            assert answer.endswith(b"\r\n\r\nhello")
            refused = gate.ask(gate.proxy_port, b"CONNECT b.example:443 HTTP/1.1\r\n\r\n")
            assert status_of(refused) == 403
            assert gate.told().startswith("egress refused: b.example:443 is not listed")


def test_it_ends_with_its_supervisor_even_when_that_is_killed(server):
    gate = Gate(settings(server.path))
    assert status_of(gate.log()) == 204

    gate.end()


@only_root_sees_descriptors
def test_it_keeps_no_descriptor_of_its_supervisor(server):
    with Gate(settings(server.path)) as gate:
        gate.log()
        kinds = [
            kind(link) for link in Path(f"/proc/{gate.pid}/fd").iterdir() if int(link.name) > 2
        ]

    # The pipe of notices, the listeners, and the loop's own epoll and pair of sockets.
    assert set(kinds) - {"closed"} == {"anon_inode", "pipe", "socket"}
    assert kinds.count("pipe") == kinds.count("anon_inode") == 1


def kind(link: Path) -> str:
    """Return what a descriptor is; the connection of the last call may close just now."""
    try:
        return str(link.readlink()).partition(":")[0]
    except FileNotFoundError:
        return "closed"


def test_it_can_gain_nothing(server):
    with Gate(settings(server.path)) as gate:
        gate.log()
        assert gate.status()["NoNewPrivs"] == "1"


@needs_root
def test_root_becomes_nobody_in_particular_and_still_reaches_the_server(server):
    with Gate(settings(server.path, uid=UID)) as gate:
        assert status_of(gate.log()) == 204
        status = gate.status()

    assert status["Uid"].split() == status["Gid"].split() == [str(UID)] * 4
    assert status["Groups"] == ""
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0


@needs_root
def test_who_left_root_needs_no_file_of_ours_any_more(server):
    """`supervisor.NothingToRead` ends a gate that loads a module late."""
    real = settings(server.path, uid=UID, allow=["*"], network="lib.sandbox.gate.network")
    with Gate(real) as gate:
        assert status_of(gate.log()) == 204
        answer = gate.ask(gate.proxy_port, b"CONNECT no-such.invalid:1 HTTP/1.1\r\n\r\n")
        assert status_of(answer) == 502
        assert status_of(gate.log()) == 204


@needs_root
def test_who_left_root_has_its_death_signal_still(server):
    gate = Gate(settings(server.path, uid=UID))
    assert status_of(gate.log()) == 204

    gate.end()


def test_a_server_that_was_never_there_is_down(tmp_path):
    for path in (None, tmp_path / "nowhere" / "api.sock"):
        with Gate(settings(path)) as gate:
            assert problem(gate.log()) == (503, "unavailable")


def test_the_real_network_refuses_this_host():
    with Gate(settings(allow=["*"], network="lib.sandbox.gate.network")) as gate:
        for host in ("localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]"):
            request = f"CONNECT {host}:{gate.api_port} HTTP/1.1\r\n\r\n".encode()
            assert b"not public" in gate.ask(gate.proxy_port, request), host


def test_the_real_network_reaches_what_is_named():
    with upstream(lambda connection: connection.sendall(b"hello")) as port:
        allow = [f"127.0.0.1:{port}", "localhost"]
        with Gate(settings(allow=allow, network="lib.sandbox.gate.network")) as gate:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                request = f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode()
                assert gate.ask(gate.proxy_port, request).endswith(b"\r\n\r\nhello"), host


def test_without_an_allow_list_nothing_is_reached():
    with Gate(settings(allow=None)) as gate:
        assert status_of(gate.ask(gate.proxy_port, b"CONNECT a.example:1 HTTP/1.1\r\n\r\n")) == 403
