"""Feedback, its promotion, and issues of failures on a real server, seen by stock git."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.test_workspace_by_hand import folder_is_main, git

FAILING = "import json\njson.dump({'status': 'error', 'error': 'no rows', 'error_code': 'no_rows'}, open('result.json', 'w'))\n"
CALLERS = 16


def issues(server: ServerProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get("/workspace/issues").json()["issues"]
    return found


def creations(server: ServerProcess) -> list[str]:
    """Return the subjects of the commits that made issues, the newest first."""
    log = git(server.workspace, "log", "--format=%s", "main").splitlines()
    return [line for line in log if line.startswith("issues: create")]


def promote(server: ServerProcess, run_id: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = server.client.post(f"/runs/{run_id}/feedback/issue", json=body)
    assert answer.status_code in {200, 201}, answer.text
    return answer.status_code, answer.json()


def test_what_is_said_of_a_run_becomes_an_issue_in_git(server: ServerProcess) -> None:
    run = server.run("hello-worker", who="Ada")
    path = f"/runs/{run['id']}/feedback"
    said = {"content": "Too formal.\nSay hi.", "rating": 2, "feedback_id": "mail:17"}
    left = server.client.post(path, json=said)
    assert left.status_code == 201
    assert creations(server) == []

    status, promoted = promote(server, run["id"], feedback_id="mail:17")

    assert (status, promoted["created"]) == (201, True)
    assert creations(server) == ["issues: create ISSUE-0001 Feedback on hello-worker: Too formal."]
    message = git(
        server.workspace, "log", "-1", "--format=%an|%(trailers:key=Floom-Request)", "main"
    )
    assert re.fullmatch(r"local-user\|Floom-Request: [0-9a-f]{64}", message.strip())
    file = git(server.workspace, "show", "main:.floom/issues/ISSUE-0001.md")
    assert "> Too formal.\n> Say hi.\n" in file
    assert f"asset_id: {run['id']}\n" in file
    assert folder_is_main(server)
    assert server.get(run["id"])["feedback_count"] == 1
    assert server.client.get(path).json() == [{**left.json(), "issue_id": "ISSUE-0001"}]


def test_of_two_hundred_callers_one_makes_the_issue(server: ServerProcess) -> None:
    run = server.run("hello-worker", who="Ada")

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(
            pool.map(
                lambda _: promote(server, run["id"], feedback_id="x", content="Wrong"), range(200)
            )
        )

    assert [status for status, _ in answers].count(201) == 1
    assert {body["issue_id"] for _, body in answers} == {"ISSUE-0001"}
    assert len(creations(server)) == len(issues(server)) == 1
    assert server.get(run["id"])["feedback_count"] == 1


@pytest.mark.parametrize("answered", [1, 11])
def test_a_server_killed_while_it_promotes_makes_each_issue_once(
    server: ServerProcess, answered: int
) -> None:
    run = server.run("hello-worker", who="Ada")
    names = [f"n{number}" for number in range(40)]
    acknowledged: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            _, body = promote(server, run["id"], feedback_id=name, content=f"Wrong {name}")
        except Exception:  # noqa: BLE001 - the server is being killed
            return
        acknowledged[name] = body["issue_id"]

    with ThreadPoolExecutor(CALLERS) as pool:
        asked = [pool.submit(ask, name) for name in names]
        for each in asked[:answered]:
            each.result()
        assert server.process is not None
        server.process.kill()
    server.kill()
    server.start()
    for name in names:
        _, body = promote(server, run["id"], feedback_id=name, content=f"Wrong {name}")
        assert acknowledged.get(name, body["issue_id"]) == body["issue_id"]

    labels = [label for each in issues(server) for label in each["labels"]]
    assert sorted(label for label in labels if ":" in label) == sorted(
        f"feedback:{name}" for name in names
    )
    assert len(creations(server)) == len(names)
    assert folder_is_main(server)


def test_a_failure_opens_an_issue_and_the_next_of_its_kind_none(server: ServerProcess) -> None:
    server.add_worker("picky", "issue_on_failure: true\n", run_py=FAILING)
    server.reload()
    for _ in range(3):
        assert server.run("picky")["error"]["code"] == "no_rows"

    server.until(lambda: {"issues": issues(server)}, lambda seen: bool(seen["issues"]))
    server.stop()  # what is due still is seen to at the next start
    server.start()

    (issue,) = issues(server)
    assert (issue["source"], issue["asset_type"], issue["asset_id"]) == (
        "run_failure",
        "worker",
        "picky",
    )
    assert issue["labels"] == ["run-failure", "error:no_rows"]
    assert creations(server) == ["issues: create ISSUE-0001 Runs of picky fail: no_rows"]


def test_a_failure_before_kill_9_opens_its_issue_after_it(server: ServerProcess) -> None:
    server.add_worker("picky", "issue_on_failure: true\n", run_py=FAILING)
    server.reload()
    run_id = server.start_run("picky")
    server.finished(run_id)
    server.kill()  # at some moment between the end of the run and its issue
    server.start()

    server.until(lambda: {"issues": issues(server)}, lambda seen: bool(seen["issues"]))
    assert [each["labels"] for each in issues(server)] == [["run-failure", "error:no_rows"]]
    assert run_id in issues(server)[0]["body"]
    assert len(creations(server)) == 1
