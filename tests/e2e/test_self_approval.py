"""Whoever started a run tries every way to approve it, where that is not theirs to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.test_accounts import admin_link, path_of, program

SECRET = "a secret of 16 characters"
MANIFEST = """
exec:
  outputs: [{name: text, type: text}]
approvals: {required: true, allow_self: false}
"""
PROPOSE = "import json\njson.dump({'status': 'success', 'outputs': {'text': 'a'}}, open('result.json', 'w'))\n"


@dataclass
class Scene:
    """Who is there: an administrator, and two members."""

    server: ServerProcess
    admin: httpx.Client
    eve: httpx.Client
    bob: httpx.Client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    data: Path = tmp_path_factory.mktemp("scene") / "var"
    with ExitStack() as stack:
        server = stack.enter_context(
            ServerProcess(data, FLOOM_SECRET=SECRET, FLOOM_RATE_LIMITS="0")
        )
        admin, eve, bob = (stack.enter_context(program(server)) for _ in range(3))
        admin.get(admin_link(server))
        for name, client in (("eve", eve), ("bob", bob)):
            invited = admin.post("/auth/magic-link", json={"email": f"{name}@example.org"})
            client.get(path_of(invited))
        server.add_worker("gated", MANIFEST, run_py=PROPOSE)
        server.reload()
        yield Scene(server, admin, eve, bob)


def proposed(scene: Scene, client: httpx.Client) -> dict[str, Any]:
    """Let somebody start a run; return it as it waits."""
    run_id = client.post("/workers/gated/runs", json={}).json()["id"]
    run = scene.server.finished(run_id)
    assert run["status"] == "pending_approval"
    return run


def is_refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["error_code"]) == (403, "forbidden")


def test_every_way_of_whoever_started_it_is_closed(scene: Scene) -> None:
    server, eve = scene.server, scene.eve
    run = proposed(scene, eve)
    (approval,) = run["approvals"]
    path, links = f"/runs/{run['id']}/approve", f"/approvals/{approval['id']}/links"
    token = eve.post("/auth/tokens", json={"name": "mine"}).json()["token"]
    with (
        program(server, authorization=f"Bearer {token}") as by_token,
        program(server, **{"x-floom-secret": SECRET}) as by_secret,
        program(server) as built_in,
    ):
        built_in.get(path_of(by_secret.post("/auth/magic-link")))
        assert built_in.get("/auth/me").json()["user_id"] == "local-user"
        for client in (eve, by_token, by_secret, built_in):
            for body in ({}, {"edited_output": {"text": "b"}}):
                assert is_refused(client.post(path, json=body)), body
            assert is_refused(client.post(f"/runs/{run['id']}/reject", json={"retry": True}))
            assert is_refused(client.post(links, json={"email": "other.mailbox@example.org"}))
        assert is_refused(scene.admin.post(links, json={"email": "eve@example.org"}))
        assert is_refused(scene.bob.post(links, json={"email": "EVE@example.org"}))

    assert server.get(run["id"])["approvals"] == [approval]
    assert scene.bob.post(path, json={}).json()["status"] == "approved"


def test_the_next_proposal_is_not_theirs_either(scene: Scene) -> None:
    run = proposed(scene, scene.eve)
    rejected = scene.bob.post(f"/runs/{run['id']}/reject", json={"retry": True}).json()
    again = scene.server.finished(rejected["retry_run_id"])
    assert again["status"] == "pending_approval"
    assert is_refused(scene.eve.post(f"/runs/{again['id']}/approve", json={}))
    assert scene.bob.post(f"/runs/{again['id']}/approve", json={}).status_code == 200


def test_what_the_shared_secret_started_is_for_administrators(scene: Scene) -> None:
    with program(scene.server, **{"x-floom-secret": SECRET}) as by_secret:
        run = proposed(scene, by_secret)
    for client in (scene.eve, scene.bob):
        assert is_refused(client.post(f"/runs/{run['id']}/approve", json={}))
    assert scene.admin.post(f"/runs/{run['id']}/approve", json={}).status_code == 200
