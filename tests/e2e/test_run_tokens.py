"""A real run speaks to the server with its token, while it runs and no longer."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import ServerProcess

MANIFEST = "exec: {inputs: [{name: url, type: url}], outputs: [{name: seen, type: json}]}\n"
SPEAK = """
import json, os, urllib.error, urllib.request
url, run = json.load(open("inputs.json"))["url"], os.environ["FLOOM_RUN_ID"]
token = os.environ["FLOOM_RUN_TOKEN"]
def call(method, path, value=None):
    request = urllib.request.Request(
        url + path, method=method, data=None if value is None else json.dumps(value).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
def log(level, message):
    return call("POST", f"/runs/{run}/logs", {"level": level, "message": message})
print("one")
seen = {"log": log("error", "two")}
print("three")
seen["debug"] = log("debug", f"the token is {token}")
print("five")
seen["other"] = call("POST", f"/runs/{run[:-1]}{'0' if run[-1] != '0' else '1'}/logs", {})
seen["read"] = call("GET", f"/runs/{run}")
seen["secrets"] = call("GET", "/secrets")
open("out/token", "w").write(token)
json.dump({"status": "success", "outputs": {"seen": seen}}, open("result.json", "w"))
"""


def test_a_runs_own_lines_stand_between_what_it_prints(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var", FLOOM_SANDBOX="off") as server:  # it has a network then
        server.add_worker("speaker", MANIFEST, run_py=SPEAK)
        server.reload()
        run = server.run("speaker", url=server.url)

        assert run["status"] == "completed", run["error"]
        seen = run["outputs"]["seen"]
        assert seen == {"log": 204, "debug": 204, "other": 403, "read": 403, "secrets": 403}
        lines = server.client.get(f"/runs/{run['id']}/logs").json()
        told = [(line["level"], line["message"]) for line in lines]
        assert told == [
            ("info", "one"),
            ("error", "two"),
            ("info", "three"),
            ("debug", "the token is ***"),
            ("info", "five"),
        ]
        token = server.client.get(f"/runs/{run['id']}/artifacts/token").text
        late = server.client.post(
            f"/runs/{run['id']}/logs",
            json={"level": "info", "message": "late"},
            headers={"authorization": f"Bearer {token}"},
        )
        assert late.status_code == 401


@pytest.mark.parametrize("secret", [None, "a secret of 16+ characters"])
def test_on_the_socket_of_gates_only_runs_are_anybody(tmp_path: Path, secret: str | None) -> None:
    """Where the server is open to all, whoever took a gate over would be an administrator."""
    variables = {"FLOOM_SECRET": secret} if secret else {}
    headers = {"x-floom-secret": secret} if secret else {}
    with ServerProcess(tmp_path / "var", 0, (), **variables) as server:
        assert server.client.get("/workers").status_code == 200
        folder = os.open(server.data / "api", os.O_RDONLY)
        # A socket's path holds 107 bytes only, unix(7).
        transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/floom.sock")
        with httpx.Client(
            transport=transport, base_url="http://localhost", headers=headers
        ) as gate:
            paths = ("/workers", "/nowhere", "/system/overview")
            assert {gate.get(path).status_code for path in paths} == {401}
            assert gate.post("/workers/reload").status_code == 401
            assert gate.get("/healthz").status_code == 200
        os.close(folder)
