"""A member tries every way there is to read a secret of a worker that they may run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.test_accounts import admin_link, path_of, program

SECRET = "a secret of 16 characters"
VALUE = "tok_4f9a1c88d7e6"
MANIFEST = """
exec:
  secrets: [API_KEY]
  inputs: [{name: word, type: text}]
  outputs: [{name: text, type: text}]
approvals: {required: false}
"""
# What an honest worker does with a secret, and what it lets slip.
HOLDER = """
import json, os
value = os.environ["API_KEY"]
inputs = json.load(open("inputs.json"))
print("calling with", value)
asks = {"label": f"Use {value}?", "preview": f"with {value}", "preview_payload": {"text": value}}
result = {"status": "success", "outputs": {"text": f"used {value}"}}
if inputs.get("word") == "ask" and inputs["decision"] == "proposed":
    result["decision_required"] = asks
if inputs.get("word") == "fail":
    raise SystemExit(f"refused: {value}")
json.dump(result, open("result.json", "w"))
"""
LEAKS = "import base64, os\nprint(base64.b64encode(os.environ['API_KEY'].encode()).decode())\n"
PLAIN = 'schema_version: "0.3"\nname: {0}\ntitle: {0}\ndescription: d\nversion: 1.0.0\n'


@dataclass
class Scene:
    """A server with a secret, who keeps it, and who wants it."""

    server: ServerProcess
    admin: httpx.Client
    member: httpx.Client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("scene")
    with (
        ServerProcess(folder / "var", FLOOM_SECRET=SECRET, FLOOM_RATE_LIMITS="0") as server,
        program(server) as admin,
        program(server) as member,
    ):
        admin.get(admin_link(server))
        member.get(path_of(admin.post("/auth/magic-link", json={"email": "eve@example.org"})))
        assert member.get("/auth/me").json()["role"] == "member"
        server.add_worker("holder", MANIFEST, run_py=HOLDER)
        server.add_worker("former", MANIFEST, run_py=LEAKS)
        server.reload()
        server.add_worker("former", "", run_py="")
        server.reload()
        answer = admin.put("/connections/secrets/API_KEY", json={"value": VALUE})
        assert answer.status_code == 204
        yield Scene(server, admin, member)


def files(manifest: str, program: str) -> dict[str, Any]:
    """Return a body that replaces a worker's files."""
    return {
        "files": [
            {"path": "worker.yml", "content": manifest, "encoding": "utf-8"},
            {"path": "run.py", "content": program, "encoding": "utf-8"},
        ]
    }


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text


def test_changing_the_worker(scene: Scene) -> None:
    member, wants = scene.member, "exec: {secrets: [API_KEY]}\n"
    for worker_id, manifest in (
        ("holder", PLAIN.format("holder") + MANIFEST),
        ("holder", PLAIN.format("holder")),
        ("hello-worker", PLAIN.format("hello-worker") + wants),
        ("of-my-own", PLAIN.format("of-my-own") + wants),
        ("of-my-own", PLAIN.format("of-my-own") + "capabilities: {secrets: [API_KEY]}\n"),
        ("of-my-own", PLAIN.format("of-my-own") + "secrets: [API_KEY]\n"),
        ("of-my-own", PLAIN.format("of-my-own") + "capabilities: {network: {egress: true}}\n"),
    ):
        answer = member.put(f"/workers/{worker_id}/files", json=files(manifest, LEAKS))
        assert answer.status_code in {403, 422}, answer.text
        if answer.status_code == 403:
            refused(answer, 403, "capability_requires_admin")
    refused(member.delete("/workers/holder"), 403, "capability_requires_admin")


def test_rolling_back_to_a_version_that_could(scene: Scene) -> None:
    versions = scene.member.get("/workers/former/versions").json()
    answer = scene.member.post("/workers/former/rollback", json={"commit": versions[-1]["commit"]})
    refused(answer, 403, "capability_requires_admin")


def test_a_copy_by_way_of_a_share(scene: Scene) -> None:
    shared = scene.member.post("/workers/holder/share").json()
    imported = scene.member.post("/workers/import-from-share", json={"token": shared["token"]})
    copy = imported.json()["worker_id"]
    refused(scene.member.post(f"/workers/{copy}/runs", json={}), 409, "worker_disabled")
    refused(scene.member.patch(f"/workers/{copy}", json={"enabled": True}), 403, "forbidden")
    changed = files(PLAIN.format(copy) + MANIFEST, LEAKS)
    answer = scene.member.put(f"/workers/{copy}/files", json=changed)
    refused(answer, 403, "capability_requires_admin")


def test_carrying_the_workspace_out_and_in(scene: Scene) -> None:
    refused(scene.member.get("/workspace/export"), 403, "forbidden")
    answer = scene.member.post(
        "/workspace/import", content=b"PK", headers={"content-type": "application/zip"}
    )
    refused(answer, 403, "forbidden")


def test_asking_for_it(scene: Scene) -> None:
    path = "/connections/secrets"
    assert VALUE not in scene.member.get(path).text
    assert scene.member.get(f"{path}/API_KEY").status_code == 405
    refused(scene.member.put(f"{path}/API_KEY", json={"value": "mine"}), 403, "forbidden")
    refused(scene.member.delete(f"{path}/API_KEY"), 403, "forbidden")
    refused(scene.member.get("/audit"), 403, "forbidden")


def everything_of(member: httpx.Client, run_id: str) -> str:
    """Return all that the API tells a member of a run, and as it happened if it has ended."""
    paths = ["", "/logs", "/feedback"]
    if member.get(f"/runs/{run_id}").json()["finished_at"] is not None:
        paths.append("/events")
    return "".join(member.get(f"/runs/{run_id}{path}").text for path in paths)


@pytest.mark.parametrize("word", ["", "fail"])
def test_reading_what_a_run_left(scene: Scene, word: str) -> None:
    server, member = scene.server, scene.member
    run_id = member.post("/workers/holder/runs", json={"inputs": {"word": word}}).json()["id"]
    server.finished(run_id)
    replayed = member.post(f"/runs/{run_id}/replay").json()["id"]
    server.finished(replayed)
    for each in (run_id, replayed):
        told = everything_of(member, each)
        assert "***" in told
        assert VALUE not in told
    assert VALUE not in member.get("/runs").text
    answer = member.post(f"/runs/{run_id}/logs", json={"level": "info", "message": "x"})
    refused(answer, 403, "forbidden")


def test_having_a_say_in_what_it_proposes(scene: Scene) -> None:
    server, member = scene.server, scene.member
    run_id = member.post("/workers/holder/runs", json={"inputs": {"word": "ask"}}).json()["id"]
    server.finished(run_id)
    (approval,) = server.get(run_id)["approvals"]
    link = member.post(f"/approvals/{approval['id']}/links", json={"email": "m@example.org"})
    token = link.json()["url"].rpartition("/")[2]
    page = httpx.get(f"{server.url}/approvals/public/{token}", headers={"accept": "text/html"}).text
    told = (
        everything_of(member, run_id)
        + member.get("/approvals").text
        + member.get(f"/approvals/{approval['id']}").text
        + httpx.get(f"{server.url}/approvals/public/{token}").text
        + page
    )
    assert "***" in told
    assert VALUE not in told

    stars = member.post(f"/runs/{run_id}/approve", json={"edited_output": {"text": "*** and more"}})
    refused(stars, 422, "validation_failed")
    assert VALUE not in stars.text
    body = {"edited_output": {"text": "mine"}}
    follow_up = member.post(f"/runs/{run_id}/approve", json=body).json()["follow_up_run_id"]
    server.finished(follow_up)
    assert VALUE not in everything_of(member, follow_up)


def test_starting_it_as_something_else(scene: Scene) -> None:
    for inputs in ({"decision": "approved"}, {"approved_output": {"text": "x"}}):
        answer = scene.member.post("/workers/holder/runs", json={"inputs": inputs})
        refused(answer, 422, "validation_failed")
