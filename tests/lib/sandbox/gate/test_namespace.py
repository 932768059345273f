"""A worker that has loopback only reaches the server and listed hosts, by the gate."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from lib.sandbox.gate.settings import GateSettings
from tests.lib.sandbox.gate.internet import PUBLIC
from tests.lib.sandbox.gate.running import read_head, upstream
from tests.lib.sandbox.gate.test_api import PATHS, RUN, TOKEN, Server
from tests.lib.sandbox.gate.test_process import ROOT, UID

SCRIPT = f"""
import json, socket, sys, urllib.request
def get(url, **given):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **given), timeout=20) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.reason]
    except OSError as error:
        return [0, str(error)]
def connect(address):
    try:
        socket.create_connection(address, timeout=5).close()
        return "connected"
    except OSError as error:
        return error.strerror
token = {{"Authorization": "Bearer {TOKEN}"}}
print(json.dumps({{
    "listed": get("http://site.example/"),
    "other": get("http://other.example/"),
    "log": get(f"http://127.0.0.1:{{sys.argv[1]}}{PATHS[0]}", data=b"x", headers=token),
    "cancel": get(f"http://127.0.0.1:{{sys.argv[1]}}/runs/{RUN}/cancel", data=b"", headers=token),
    "direct": connect(("{PUBLIC}", 80)),
    "host": connect(("127.0.0.1", REAL_PORT)),
}}))
"""


def respond(connection):
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a namespace without more ado")
def test_what_a_worker_without_a_network_reaches(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    server = Server(tmp_path / "api.sock")
    server.start()
    server.path.chmod(0o666)
    settings = GateSettings(
        RUN,
        str(server.path),
        ("site.example",),
        UID,
        "tests.lib.sandbox.gate.loopback_network",
    )
    try:
        with upstream(respond) as port:
            given = {
                "settings": asdict(settings),
                "names": {"site.example": [PUBLIC], "other.example": [PUBLIC]},
                "places": [[PUBLIC, 80, port]],
                "script": SCRIPT.replace("REAL_PORT", str(port)),
            }
            script = Path(__file__).with_name("namespaced.py")
            done = subprocess.run(
                [sys.executable, script, json.dumps(given)],
                cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
    finally:
        server.stop()

    seen = json.loads(done.stdout)
    assert seen["listed"] == [200, "hello"]
    assert seen["other"][0] == 403
    assert "other.example:80 is not listed" in seen["other"][1]
    assert seen["log"] == [204, ""]
    assert seen["cancel"][0] == 403
    assert seen["direct"] == "Network is unreachable"
    assert seen["host"] == "Connection refused"
    assert len(server.requests) == 1
