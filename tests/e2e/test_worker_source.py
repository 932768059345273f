"""Workers changed over the API of a real server, by hand and by push at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.test_workspace_by_hand import clone, folder_is_main, git, own_server, printed, worker

__all__ = ["own_server"]

MANIFEST = 'schema_version: "0.3"\nname: made\ntitle: Made\ndescription: By API.\nversion: 1.0.0\n'


@pytest.fixture
def server(own_server: ServerProcess) -> ServerProcess:
    return own_server


def save(server: ServerProcess, text: str, **more: Any) -> dict[str, Any]:
    """Save the worker `made`, which prints a text."""
    files = [
        {"path": "worker.yml", "content": MANIFEST},
        {"path": "run.py", "content": f"print({text!r})\n"},
    ]
    answer = server.client.put("/workers/made/files", json={"files": files, **more})
    assert answer.status_code in {200, 201}, answer.text
    saved: dict[str, Any] = answer.json()
    return saved


def test_a_push_between_two_saves_is_kept(server: ServerProcess, tmp_path: Path) -> None:
    first = save(server, "one")
    copy = clone(server, tmp_path / "copy")
    (copy / "workers/made/run.py").write_text("print('pushed')\n")
    git(copy, "commit", "-aqm", "by hand")
    git(copy, "push", "-q", "origin", "HEAD:main")

    stale = server.client.put(
        "/workers/made/files",
        json={"files": [{"path": "worker.yml", "content": MANIFEST}], "expected_sha": first["sha"]},
    )
    assert stale.status_code in {409, 422}
    assert printed(server, "made") == ["pushed"]
    save(server, "two", expected_sha=worker(server, "made")["sha"])

    versions = server.client.get("/workers/made/versions").json()
    log = git(server.workspace, "log", "--format=%H", "main", "--", "workers/made").split()
    assert [each["commit"] for each in versions] == log
    assert [each["message"].strip() for each in versions] == [
        "worker: update made",
        "by hand",
        "worker: update made",
    ]
    assert folder_is_main(server)


def test_every_shape_of_commit_can_be_shown(server: ServerProcess) -> None:
    save(server, "one")
    first = git(server.workspace, "rev-parse", "main").strip()
    save(server, "two")
    server.client.post("/workers/made/rollback", json={"commit": first})
    assert printed(server, "made") == ["one"]
    server.client.delete("/workers/made")
    server.client.post("/workers/made/rollback", json={"commit": first})

    subjects = git(server.workspace, "log", "--format=%s", "-5", "main").splitlines()
    assert subjects == [
        f"worker: roll back made to {first[:7]}",
        "worker: delete made",
        f"worker: roll back made to {first[:7]}",
        "worker: update made",
        "worker: update made",
    ]
    for commit in git(server.workspace, "log", "--format=%H", "-5", "main").split():
        assert "workers/made" in git(server.workspace, "show", "--stat", commit)
    assert folder_is_main(server)


def test_a_deletion_survives_kill_9_with_what_it_cancelled(server: ServerProcess) -> None:
    save(server, "one")
    server.add_worker("slow", "concurrency: {max: 1}\n", run_py="import time\ntime.sleep(60)\n")
    server.reload()
    ids = [server.client.post("/workers/slow/runs", json={}).json()["id"] for _ in range(3)]
    assert server.client.delete("/workers/slow").status_code == 204
    server.kill()
    server.start()

    states = [server.get(run_id)["status"] for run_id in ids]
    assert states.count("cancelled") >= 2
    assert server.client.get("/workers/slow").status_code == 404
    for run_id in ids:
        server.client.post(f"/runs/{run_id}/cancel")
    assert folder_is_main(server)
