"""Secrets from end to end: into a run's environment, and nowhere else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import ROOT, ServerProcess

PATH = "/connections/secrets"
VALUE = "tok_4f9a1c88d7e6"
OTHER = "of-nobody-here-77"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAQEFAASCBKcwggSjAgEA\n-----END KEY-----\n"
KEY, OTHER_KEY = "1f" * 32, "2e" * 32

DECLARES = "exec: {secrets: [API_KEY, PEM], outputs: [{name: seen, type: json, required: true}]}\n"
# It speaks its secrets in every way but its outputs, then waits until it may end.
SPEAKER = """
import hashlib, json, os, pathlib, sys, time

value = os.environ["API_KEY"]
print("stdout", value, value + value)
print(os.environ["PEM"])
print("stderr", value, file=sys.stderr)
sys.stdout.write("x" * 16380 + value + "x" * 99 + "\\n")
sys.stdout.write(value[:5]); sys.stdout.flush(); time.sleep(0.05)
sys.stdout.write(value[5:] + " in pieces\\n")
while not pathlib.Path("go").exists():
    time.sleep(0.01)
seen = {"digest": hashlib.sha256(value.encode()).hexdigest(), "names": sorted(os.environ)}
pathlib.Path("result.json").write_text(json.dumps({"status": "success", "outputs": {"seen": seen}}))
"""
FAILER = """
import os, sys
sys.stderr.write("y" * 9000 + "\\n")
raise ValueError("refused: " + os.environ["API_KEY"])
"""
ECHO = """
import json, os, pathlib
value = os.environ["API_KEY"]
pathlib.Path("out/a.txt").write_text(value)
result = {"status": "success", "outputs": {"seen": {"a": [value], value: "key " + value}}}
pathlib.Path("result.json").write_text(json.dumps(result))
"""


def put(server: ServerProcess, name: str, value: str) -> None:
    answer = server.client.put(f"{PATH}/{name}", json={"value": value})
    assert (answer.status_code, answer.content) == (204, b""), answer.text


def files_with(text: str, folder: Path) -> list[str]:
    """Return the files below a folder that hold a text, those of live runs among them."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found


def refused_start(data: Path, **environment: str) -> str:
    """Start a server that must refuse; return its one line."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "local_server.py")],
        env={
            "PATH": "/usr/bin:/bin",
            "FLOOM_DATA_DIR": str(data),
            "FLOOM_PORT": "0",
            "PYTHONWARNINGS": "error",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    return ServerProcess(tmp_path / "var", FLOOM_LOG_LEVEL="debug")


def test_a_secret_reaches_its_runs_and_nothing_else(server: ServerProcess) -> None:
    with server:
        server.add_worker("speaker", DECLARES, run_py=SPEAKER)
        server.reload()
        assert server.client.get("/workers/speaker").json()["status"] == "missing_secret"
        refused = server.client.post("/workers/speaker/runs", json={"inputs": {}})
        assert (refused.status_code, refused.json()["error_code"]) == (422, "missing_secret")
        assert "API_KEY, PEM" in refused.json()["detail"]

        put(server, "API_KEY", VALUE)
        put(server, "OTHER_KEY", OTHER)
        worker = server.client.get("/workers/speaker").json()
        assert (worker["status"], worker["missing_secrets"]) == ("missing_secret", ["PEM"])
        put(server, "PEM", PEM)
        assert server.client.get("/workers/speaker").json()["status"] == "ready"

        run_id = server.start_run("speaker")
        server.until(
            lambda: server.get(run_id),
            lambda run: any("in pieces" in line["message"] for line in run["logs"]),
        )
        # While it runs: its folder, the log on its way, the database and what it wrote ahead.
        (work,) = (server.data / "runs" / run_id).glob("*/work")
        for secret in (VALUE, OTHER, *PEM.splitlines()):
            assert files_with(secret, server.data) == []
        assert files_with("in pieces", server.data)  # the search would find what is there
        (work / "go").touch()

        run = server.finished(run_id)
        server.wait_until_tidied_up()
        assert run["status"] == "completed", run["error"]
        seen = run["outputs"]["seen"]
        assert seen["digest"] == hashlib.sha256(VALUE.encode()).hexdigest()
        assert {"API_KEY", "PEM"} <= set(seen["names"])
        assert "OTHER_KEY" not in seen["names"]
        messages = [line["message"] for line in run["logs"]]
        assert messages[:2] == ["stdout *** ***", "***"]
        assert "stderr ***" in messages
        assert "*** in pieces" in messages
        assert VALUE[:4] not in str(run)
        for secret in (VALUE, OTHER, *PEM.splitlines()):
            assert files_with(secret, server.data) == []

        rows = {row["name"]: row for row in server.client.get(PATH).json()}
        assert rows["API_KEY"]["used_by"] == ["speaker"]
        assert rows["API_KEY"]["last_used_at"] is not None
        assert rows["OTHER_KEY"]["last_used_at"] is None
    assert VALUE not in server.errors.read_text()
    assert VALUE[:8] not in server.errors.read_text()


def test_a_failed_run_says_why_without_the_value(server: ServerProcess) -> None:
    with server:
        server.add_worker("failer", DECLARES, run_py=FAILER)
        server.reload()
        put(server, "API_KEY", VALUE)
        put(server, "PEM", PEM)
        error = server.run("failer")["error"]
        assert error["message"].endswith("ValueError: refused: ***")
        assert VALUE not in str(error)
        listed = server.client.get("/runs", params={"q": "refused"}).json()
        assert listed[0]["error"] == error
        server.wait_until_tidied_up()
        assert files_with(VALUE, server.data) == []
    assert VALUE not in server.errors.read_text()


def test_outputs_are_masked_when_shown_and_artifacts_are_what_the_worker_wrote(
    server: ServerProcess,
) -> None:
    with server:
        server.add_worker("echo", DECLARES, run_py=ECHO)
        server.reload()
        put(server, "API_KEY", VALUE)
        put(server, "PEM", PEM)
        run = server.run("echo")
        assert run["outputs"] == {"seen": {"a": ["***"], "***": "key ***"}}
        assert server.get(run["id"])["outputs"] == run["outputs"]
        artifact = server.client.get(f"/runs/{run['id']}/artifacts/a.txt")
        assert artifact.text == VALUE
        assert server.client.delete(f"{PATH}/API_KEY").status_code == 204
        assert server.client.get("/workers/echo").json()["status"] == "missing_secret"


def test_secrets_outlive_a_restart_and_a_crash(server: ServerProcess) -> None:
    with server:
        server.add_worker("echo", DECLARES, run_py=ECHO)
        server.reload()
        put(server, "PEM", PEM)
        put(server, "API_KEY", VALUE)
        server.kill()
    with server:
        assert server.run("echo")["outputs"]["seen"]["a"] == ["***"]
        assert server.stop() == 0
    key_file = server.data / "keys" / "secrets.key"
    assert key_file.stat().st_mode & 0o777 == 0o600

    wrong = refused_start(server.data, FLOOM_SECRETS_KEY=OTHER_KEY)
    assert wrong.startswith("floom: FLOOM_SECRETS_KEY is not the key of the stored secrets")
    assert OTHER_KEY not in wrong
    other = refused_start(
        server.data, FLOOM_WORKSPACE_ID="other", FLOOM_SECRETS_KEY=key_file.read_text()
    )
    assert "another FLOOM_WORKSPACE_ID" in other
    key_file.rename(key_file.with_suffix(".aside"))
    assert "restore" in refused_start(server.data)
    assert not key_file.exists()
    key_file.with_suffix(".aside").rename(key_file)
    with server:
        assert server.run("echo")["status"] == "completed"


def test_a_key_from_the_environment_needs_no_file(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var", FLOOM_SECRETS_KEY=KEY) as server:
        server.add_worker("echo", DECLARES, run_py=ECHO)
        server.reload()
        put(server, "API_KEY", VALUE)
        put(server, "PEM", PEM)
        assert server.run("echo")["status"] == "completed"
        server.wait_until_tidied_up()
        assert [each.name for each in (server.data / "keys").iterdir()] == ["server.key"]
        assert files_with(KEY, server.data) == []
    assert "is not the key" in refused_start(server.data, FLOOM_SECRETS_KEY=OTHER_KEY)
    assert "restore" in refused_start(server.data)


@pytest.mark.parametrize("key", ["short", "zz" * 32, "1f" * 33])
def test_a_key_of_another_form_is_refused_unseen(tmp_path: Path, key: str) -> None:
    line = refused_start(tmp_path / "var", FLOOM_SECRETS_KEY=key)
    assert line.startswith("floom: FLOOM_SECRETS_KEY: must be 32 bytes as 64 hexadecimal digits")
    assert key not in line


def test_members_may_not_write_and_short_values_are_warned_of(tmp_path: Path) -> None:
    secret = "a secret of 16+ characters"
    with ServerProcess(tmp_path / "var", FLOOM_SECRET=secret) as server:
        answer = server.client.put(f"{PATH}/API_KEY", json={"value": VALUE})
        assert answer.status_code == 403
        assert server.client.get("/secrets").json() == []
    with ServerProcess(
        tmp_path / "var", FLOOM_SECRET=secret, WORKEROS_SHARED_SECRET_ROLE="admin"
    ) as server:
        answer = server.client.put(f"{PATH}/PIN", json={"value": "1234"})
        assert answer.status_code == 204
        assert "cannot be masked" in answer.headers["x-floom-warning"]
