"""Crashes and stops: nothing acknowledged is lost, nothing runs twice unasked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import ROOT, ServerProcess

EFFECT = (
    "import json, os, sys, time, urllib.request\n"
    "inputs = json.load(open('inputs.json'))\n"
    "if inputs['ledger']:\n"
    "    urllib.request.urlopen(inputs['ledger'] + os.environ['FLOOM_RUN_ID'], timeout=60)\n"
    "print('one line')\n"
    "time.sleep(inputs['seconds'])\n"
    "print('and another')\n"
)
INPUTS = (
    "exec:\n"
    "  inputs: [{name: ledger, type: string, default: ''},"
    " {name: seconds, type: number, default: 0.3}]\n"
)
MODES = ["off", "best_effort"]
ADDRESS = "127.0.0.2"  # in nobody's NO_PROXY


@contextmanager
def ledger() -> Iterator[tuple[str, list[str]]]:
    """Yield an address that somebody else has, and the paths that were asked for there."""
    asked: list[str] = []

    class Ledger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.removeprefix("/"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((ADDRESS, 0), Ledger) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"{ADDRESS}:{listener.server_port}", asked
        listener.shutdown()
        thread.join()


def kill_loop(tmp_path: Path, *, mode: str, kills: int, runs: int) -> None:
    """Kill the server again and again under running workers, then judge each run.

    Each has an effect on somebody else, by the network where there is a way out, and one on its log.
    """
    with ledger() as (place, asked):
        server = ServerProcess(tmp_path / "var", FLOOM_SANDBOX=mode).start()
        egress = f'capabilities: {{network: {{egress: {{allow: ["{place}"]}}}}}}\n'
        server.add_worker("effect", INPUTS + egress, run_py=EFFECT)
        assert server.reload()["errors"] == []
        holds = server.client.get("/system/sandbox").json()["properties"]["network"]
        has_way_out = mode == "off" or "namespace" in holds
        acknowledged = []
        for _ in range(kills):
            for n in range(runs):
                effect = {"ledger": f"http://{place}/" if has_way_out else ""}
                seconds = 0.05 + n % 4 * 0.1
                acknowledged.append(server.start_run("effect", seconds=seconds, **effect))
            server.kill()
            server.start()
        judge(server, acknowledged)
        assert Counter(asked) == Counter(acknowledged if has_way_out else [])


def judge(server: ServerProcess, acknowledged: list[str]) -> None:
    """Each run was executed once, to its end."""
    for run_id in acknowledged:
        run = server.finished(run_id, seconds=120)
        assert run["status"] == "completed", run
        assert run["attempt"] == 1
        assert [line["message"] for line in run["logs"]] == ["one line", "and another"]
    assert server.client.get("/system/overview").json()["stats"]["running"] == 0
    assert server.stop() == 0


@pytest.mark.parametrize("mode", MODES)
def test_kill_9_loses_and_repeats_nothing(tmp_path: Path, mode: str) -> None:
    kill_loop(tmp_path, mode=mode, kills=1, runs=8)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", MODES)
def test_kill_9_twenty_times_under_fifty_runs(tmp_path: Path, mode: str) -> None:
    kill_loop(tmp_path, mode=mode, kills=20, runs=50)


def test_restart_at_once_on_the_same_port_after_kill_9(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("effect", INPUTS, run_py=EFFECT)
        server.reload()
        run_id = server.start_run("effect", seconds=3)
        server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
        port = server.port
        server.kill()
        server.start()
        assert server.port == port
        run = server.finished(run_id)
        assert run["status"] == "completed"
        assert [line["message"] for line in run["logs"]] == ["one line", "and another"]


def test_a_run_outlives_a_stop_and_can_be_cancelled_afterwards(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("effect", INPUTS, run_py=EFFECT)
        server.reload()
        run_id = server.start_run("effect", seconds=60)
        server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
        assert server.stop() == 0
        server.start()
        assert server.get(run_id)["status"] == "running"
        assert server.client.post(f"/runs/{run_id}/cancel").status_code == 200
        assert server.finished(run_id)["status"] == "cancelled"


def test_a_run_that_ended_while_there_was_no_server_is_collected(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("effect", INPUTS, run_py=EFFECT)
        server.reload()
        run_id = server.start_run("effect", seconds=0.5)
        server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
        server.kill()
        (exit_record,) = [
            folder / "meta" / "exit.json" for folder in (server.data / "runs" / run_id).iterdir()
        ]
        server.until(dict, lambda _: exit_record.exists())
        server.start()
        run = server.finished(run_id)
        assert run["status"] == "completed"
        assert [line["message"] for line in run["logs"]] == ["one line", "and another"]


def test_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        assert server.process is not None
        other = subprocess.run(
            [sys.executable, str(ROOT / "local_server.py")],
            env={"FLOOM_DATA_DIR": str(server.data), "FLOOM_PORT": "0", "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert other.returncode == 2
        assert f"process {server.process.pid}" in other.stderr
        assert len(other.stderr.splitlines()) == 1
        assert server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"FLOOM_SECRET": "short"}, "FLOOM_SECRET"),
        ({"FLOOM_HOST": "0.0.0.0"}, "FLOOM_SECRET"),
    ],
)
def test_bad_setting_is_one_line_and_exit_2(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "local_server.py")],
        env={"FLOOM_DATA_DIR": str(tmp_path / "var"), "PATH": os.defpath, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr
    assert "short" not in ended.stderr.replace("should", "")
    assert not (tmp_path / "var").exists()


def test_port_in_use_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        other = subprocess.run(
            [sys.executable, str(ROOT / "local_server.py")],
            env={
                "FLOOM_DATA_DIR": str(tmp_path / "other"),
                "FLOOM_PORT": str(server.port),
                "PATH": os.defpath,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert other.returncode == 2
        assert str(server.port) in other.stderr
        assert len(other.stderr.splitlines()) == 1


def test_sigterm_ends_streams_and_polls_within_5_seconds(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "var").start()
    server.add_worker("effect", INPUTS, run_py=EFFECT)
    server.reload()
    run_id = server.start_run("effect", seconds=60)
    server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
    open_streams = threading.Barrier(22)

    def follow() -> None:
        with (
            httpx.Client(base_url=server.url, timeout=60) as client,
            client.stream("GET", f"/runs/{run_id}/events") as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            open_streams.wait(30)
            for _ in lines:
                pass

    def poll() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            path = f"/runs/{run_id}/logs?after=10&wait=20"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            open_streams.wait(30)
            assert connection.recv(64).startswith(b"HTTP/1.1 200")

    threads = [threading.Thread(target=follow) for _ in range(20)]
    threads.append(threading.Thread(target=poll))
    for thread in threads:
        thread.start()
    open_streams.wait(30)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 8  # 5 s promised; the margin is for busy machines
    for thread in threads:
        thread.join(30)
    with server:
        assert server.client.post(f"/runs/{run_id}/cancel").status_code == 200
        assert server.finished(run_id)["status"] == "cancelled"


def test_ctrl_c_exits_0(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "var").start()
    assert server._end(signal.SIGINT) == 0
    assert "Traceback" not in server.errors.read_text()
