"""A real server with a git remote."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.server import ServerProcess
from tests.e2e.test_workspace_by_hand import folder_is_main, git
from tests.lib.workspace.place import wait_for
from tests.lib.workspace.remote import servers


def remote_state(server: ServerProcess) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/system/overview").json()["git_remote"]
    return found


def test_the_overview_tells_how_the_remote_stands(tmp_path: Path) -> None:
    folder = servers.bare(tmp_path / "ws.git")
    with ServerProcess(tmp_path / "var", WORKEROS_GIT_REMOTE=f"file://{folder}") as server:
        issue = server.client.post("/workspace/issues", json={"title": "pushed"})
        assert issue.status_code == 201
        tip = git(server.workspace, "rev-parse", "main")
        wait_for(lambda: subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "main"], capture_output=True, text=True, check=False
        ).stdout == tip)  # fmt: skip
        wait_for(lambda: remote_state(server)["ahead"] == 0)
        assert remote_state(server)["url"] == f"file://{folder}"
        assert remote_state(server)["last_error"] is None
        assert folder_is_main(server)


def test_a_remote_that_cannot_be_read_stops_a_first_start_and_no_other(tmp_path: Path) -> None:
    with servers.http_backend(tmp_path, password="wrong-" + servers.PASSWORD) as address:
        servers.bare(tmp_path / "ws.git")
        first = ServerProcess(tmp_path / "first", WORKEROS_GIT_REMOTE=f"{address}/ws.git")
        process = first.spawn()
        process.communicate(timeout=60)
        assert process.returncode == 2
        said = first.errors.read_text()
        assert "WORKEROS_GIT_REMOTE cannot be read" in said
        assert servers.PASSWORD not in said

        with ServerProcess(tmp_path / "second") as server:
            server.client.post("/workspace/issues", json={"title": "ours"})
        with ServerProcess(tmp_path / "second", WORKEROS_GIT_REMOTE=f"{address}/ws.git") as server:
            wait_for(lambda: remote_state(server)["last_error"])
            overview = server.client.get("/system/overview")
            kinds = [each["kind"] for each in overview.json()["needs_attention"]]
            assert "git_remote" in kinds
            assert servers.PASSWORD not in overview.text + server.errors.read_text()
