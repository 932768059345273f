"""Sharing workers over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import share, workers
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from lib.workspace.sharing import MAX_FILES, MAX_LISTED
from tests.lib.runs.world import World, open_world

SECRET = "the secret of this server"
Call = Callable[..., testing.Result]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def call(world: World) -> Call:
    services = world.services()
    app = create_app(
        [route for group in (workers, share) for route in group.routes(services)],
        authenticator=Authenticator(secret=SECRET, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )

    def call(method: str, path: str, body: Any = None, *, secret: bool = True) -> testing.Result:
        headers = {"content-type": "application/json"}
        if secret:
            headers["x-floom-secret"] = SECRET
        text = None if body is None else json.dumps(body)
        return testing.simulate_request(
            app, method, path, host="localhost", headers=headers, body=text
        )

    return call


def shared(call: Call, worker_id: str = "plain") -> str:
    answer = call("POST", f"/workers/{worker_id}/share")
    assert answer.status_code == 200, answer.text
    token: str = answer.json["token"]
    assert answer.json["url"] == f"http://localhost:8000/share/{token}"
    return token


def test_anybody_with_the_link_sees_the_outline(world: World, call: Call) -> None:
    world.add_worker("plain", run_py="SECRET_RECIPE = 1\n")
    world.push("workers/plain/.env", b"TOKEN=1", 0o100644)
    token = shared(call)
    assert len(token) == len("fls_") + 24

    answer = call("GET", f"/share/{token}", secret=False)

    assert answer.status_code == 200
    assert answer.json["title"] == "Plain"
    assert answer.json.keys() == {"title", "description", "files", "has_more_files"}
    assert [each["path"] for each in answer.json["files"]] == ["run.py", "worker.yml"]
    assert "RECIPE" not in answer.text


def test_sharing_again_moves_the_link_and_a_change_does_not(world: World, call: Call) -> None:
    world.add_worker("plain")
    token = shared(call)
    world.add_worker("plain", more_txt="x")
    assert len(call("GET", f"/share/{token}").json["files"]) == 2
    assert shared(call) == token
    assert len(call("GET", f"/share/{token}").json["files"]) == 3


@pytest.mark.parametrize("token", ["fls_" + "a" * 24, "nonsense", "fls_", "%00"])
def test_what_is_not_shared_is_not_found(call: Call, token: str) -> None:
    answer = call("GET", f"/share/{token}", secret=False)
    assert (answer.status_code, answer.json["error_code"]) == (404, "share_not_found")
    copied = call("POST", "/workers/import-from-share", {"token": token})
    assert copied.json["error_code"] == "share_not_found"


@pytest.mark.parametrize("how", ["revoked", "deleted"])
def test_a_link_ends(world: World, call: Call, how: str) -> None:
    world.add_worker("plain")
    token = shared(call)
    if how == "revoked":
        assert call("DELETE", "/workers/plain/share").status_code == 204
        assert call("DELETE", "/workers/plain/share").status_code == 204
    else:
        assert call("DELETE", "/workers/plain").status_code == 204
    assert call("GET", f"/share/{token}").status_code == 404
    world.add_worker("plain")
    assert call("GET", f"/share/{token}").status_code == 404
    assert shared(call) != token


def test_a_link_ends_with_its_worker_whoever_deletes_it(world: World, call: Call) -> None:
    """Deleted by hand: the link is dead, and is not that of a new worker."""
    world.add_worker("plain")
    token = shared(call)
    before = (world.root / "workspace/workers/plain/worker.yml").read_bytes()
    world.remove_worker("plain")
    assert call("GET", f"/share/{token}", secret=False).status_code == 404
    world.add_worker("plain")
    assert (world.root / "workspace/workers/plain/worker.yml").read_bytes() == before
    for method, path, body in (
        ("GET", f"/share/{token}", None),
        ("POST", "/workers/import-from-share", {"token": token}),
    ):
        assert call(method, path, body).json["error_code"] == "share_not_found"
    assert shared(call) != token

    world.remove_worker("plain")
    assert call("DELETE", "/workers/plain/share").json["error_code"] == "worker_not_found"


def test_a_long_worker_is_shown_in_part(world: World, call: Call) -> None:
    world.write_worker("many")
    for number in range(MAX_LISTED):
        (world.root / f"workspace/workers/many/{number:05}").touch()
    world.reload()
    token = shared(call, "many")
    answer = call("GET", f"/share/{token}", secret=False)
    assert len(answer.json["files"]) == MAX_FILES
    assert answer.json["has_more_files"]


def test_a_copy_is_another_worker_in_quarantine(world: World, call: Call) -> None:
    world.add_worker("plain", "exec: {secrets: [API_KEY]}\n", run_py="print(1)\n")
    world.push("workers/plain/.env", b"TOKEN=1", 0o100644)
    world.push("workers/plain/link", b"/etc/passwd", 0o120000)
    token = shared(call)

    made = call("POST", "/workers/import-from-share", {"token": token})

    assert made.status_code == 201
    assert made.json == {
        "worker_id": "plain-2",
        "url": "http://localhost:8000/workers/plain-2",
        "skipped_files": [
            {"path": ".env", "reason": "may hold a secret"},
            {"path": "link", "reason": "is a link or a submodule"},
        ],
        "id_remapped_from": "plain",
    }
    copy = call("GET", "/workers/plain-2").json
    assert (copy["status"], copy["enabled"]) == ("disabled", False)
    assert [each["path"] for each in copy["files"]] == ["run.py", "worker.yml"]
    assert b"name: plain-2" in world.workspace.view().read("workers/plain-2/worker.yml")
    tip = world.workspace.tip()
    assert tip is not None
    assert world.workspace.commit_info(tip).message == "worker: import plain-2 from share\n"


def test_a_worker_that_is_too_large_or_broken_is_not_copied(world: World, call: Call) -> None:
    world.write_worker("many")
    for number in range(MAX_FILES):
        (world.root / f"workspace/workers/many/{number}").touch()
    world.add_worker("broken", "nonsense: [\n")
    tip = world.workspace.tip()
    for worker_id, code in (("many", "share_too_large"), ("broken", "worker_broken")):
        token = shared(call, worker_id)
        answer = call("POST", "/workers/import-from-share", {"token": token})
        assert answer.json["error_code"] == code
    assert world.workspace.tip() == tip


def test_an_unknown_worker_cannot_be_shared(call: Call) -> None:
    for method in ("POST", "DELETE"):
        answer = call(method, "/workers/none/share")
        assert (answer.status_code, answer.json["error_code"]) == (404, "worker_not_found")
