"""Real servers that share a workspace by a bundle store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.test_workspace_by_hand import git
from tests.kit.buckets import BUCKET, shared_client
from tests.kit.s3_servers import CREDENTIALS
from tests.lib.workspace.place import wait_for


def issues(server: ServerProcess) -> list[str]:
    return [each["title"] for each in server.client.get("/workspace/issues").json()["issues"]]


def bundle_state(server: ServerProcess) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/system/overview").json()["bundle_sync"]
    return found


def open_issue(server: ServerProcess, title: str) -> str:
    answer = server.client.post("/workspace/issues", json={"title": title})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "folder":
        return {"FLOOM_BUNDLE_STORE": f"file://{tmp_path}/store"}
    url = request.getfixturevalue("moto_url")
    shared_client(url)
    return {
        **CREDENTIALS,
        "FLOOM_BUNDLE_STORE": f"s3://{BUCKET}/{tmp_path.name}",
        "AWS_ENDPOINT_URL_S3": url,
    }


def test_two_servers_write_one_workspace(tmp_path: Path, store: dict[str, str]) -> None:
    settings = {**store, "FLOOM_BUNDLE_REFRESH_SECONDS": "0"}
    with (
        ServerProcess(tmp_path / "one", 0, (), **settings) as one,
        ServerProcess(tmp_path / "two", 0, (), **settings) as two,
    ):
        assert open_issue(one, "of one") == "ISSUE-0001"
        assert open_issue(two, "of two") == "ISSUE-0002"
        assert issues(one) == issues(two) == ["of one", "of two"]
        assert one.client.get("/healthz").json()["checks"] == {"store": "ok", "bundle_store": "ok"}
        assert bundle_state(one)["store"] == store["FLOOM_BUNDLE_STORE"]
        assert bundle_state(two)["published"] >= 1
        one.kill()
        shutil.rmtree(tmp_path / "one")
        one.start()
        assert issues(one) == ["of one", "of two"]
        assert open_issue(one, "again") == "ISSUE-0003"
        assert git(one.workspace, "rev-parse", "main") == bundle_tip(two)


def bundle_tip(server: ServerProcess) -> str:
    assert server.client.get("/workspace/issues").status_code == 200  # it looks at the store
    return git(server.workspace, "rev-parse", "main")


def test_without_its_store_a_server_reads_and_does_not_write(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    settings = {"FLOOM_BUNDLE_STORE": f"file://{folder}", "FLOOM_BUNDLE_REFRESH_SECONDS": "0"}
    with ServerProcess(tmp_path / "one", 0, (), **settings) as server:
        open_issue(server, "before")
        folder.rename(tmp_path / "away")
        answer = server.client.post("/workspace/issues", json={"title": "lost"})
        assert answer.status_code == 503, answer.text
        assert issues(server) == ["before"]
        wait_for(lambda: server.client.get("/healthz").json()["checks"]["bundle_store"] == "failed")
        assert server.client.get("/healthz").json()["details"] == {
            "bundle_store": "store_unavailable"
        }
        kinds = {
            each["kind"]: each["message"]
            for each in server.client.get("/system/overview").json()["needs_attention"]
        }
        assert "bundle_sync_behind" in kinds
        run = server.client.post(
            "/workers/hello-worker/runs",
            json={"inputs": {"who": "Ada"}},
            headers={"prefer": "wait=20"},
        )
        assert run.json()["status"] == "completed"
        shutil.rmtree(folder, ignore_errors=True)
        (tmp_path / "away").rename(folder)
        open_issue(server, "after")
        assert issues(server) == ["before", "after"]


def test_a_new_server_does_not_begin_without_its_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    server = ServerProcess(tmp_path / "one", FLOOM_BUNDLE_STORE=f"file://{tmp_path}/store/x")
    process = server.spawn()
    _, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "blob store cannot be used" in server.errors.read_text()
    assert not (tmp_path / "one/workspace/.git/refs/heads/main").exists()
