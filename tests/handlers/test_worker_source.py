"""Files, versions, rollback and deletion over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import runs, worker_source, workers
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.storage.records import RunStatus
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.lib.runs.world import World, open_world

SECRET = "the secret of this server"
MANIFEST = (
    'schema_version: "0.3"\nname: notes\ntitle: Notes\ndescription: Takes notes.\n'
    "version: 1.0.0\nentrypoint: run.py\n"
)
FILES = [
    {"path": "worker.yml", "content": MANIFEST},
    {"path": "run.py", "content": "print(1)\n"},
]
Call = Callable[..., testing.Result]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def call(world: World) -> Call:
    services = world.services()
    apps = {
        role: create_app(
            [route for group in (workers, worker_source, runs) for route in group.routes(services)],
            authenticator=Authenticator(secret=SECRET, shared_secret_role=role),
            clock=world.clock,
            public_url="http://localhost:8000",
            shutdown=Shutdown(),
        )
        for role in Role
    }

    def call(method: str, path: str, body: Any = None, role: Role = Role.ADMIN) -> testing.Result:
        headers = {"x-floom-secret": SECRET, "content-type": "application/json"}
        path, _, query = path.partition("?")
        return testing.simulate_request(
            apps[role],
            method,
            path,
            host="localhost",
            headers=headers,
            body=None if body is None else json.dumps(body),
            query_string=query,
        )

    return call


def test_a_worker_is_made_read_changed_and_run(world: World, call: Call) -> None:
    made = call("PUT", "/workers/notes/files", {"files": FILES, "expected_sha": None})
    assert made.status_code == 201
    assert made.json["status"] == "ready"

    read = call("GET", "/workers/notes/files").json
    assert read["sha"] == made.json["sha"]
    assert [(each["path"], each["encoding"]) for each in read["files"]] == [
        ("run.py", "utf-8"),
        ("worker.yml", "utf-8"),
    ]
    binary = {
        "path": "logo.png",
        "content": base64.b64encode(b"\x89PNG\0").decode(),
        "encoding": "base64",
        "executable": True,
    }
    saved = call("PUT", "/workers/notes/files", {"files": [*FILES, binary]})
    assert saved.status_code == 200
    assert call("GET", "/workers/notes/files").json["files"][0] == binary
    assert call("POST", "/workers/notes/runs", {}).status_code == 202


def test_control_characters_are_no_text(world: World, call: Call) -> None:
    """JSON has six bytes for each: a small zip of them would be an answer of hundreds of megabytes."""
    odd = {
        "path": "odd",
        "content": base64.b64encode(b"\x01" * 100).decode(),
        "encoding": "base64",
        "executable": False,
    }
    plain = {**odd, "path": "plain", "content": "a\tb\r\n\x7f\u2028", "encoding": "utf-8"}
    assert call("PUT", "/workers/notes/files", {"files": [*FILES, odd, plain]}).status_code == 201
    assert call("GET", "/workers/notes/files").json["files"][:2] == [odd, plain]


def test_an_answer_can_be_sent_back_as_it_is(call: Call) -> None:
    call("PUT", "/workers/notes/files", {"files": FILES})
    read = call("GET", "/workers/notes/files").json

    again = call(
        "PUT", "/workers/notes/files", {"files": read["files"], "expected_sha": read["sha"]}
    )
    assert again.status_code == 200
    assert again.json["sha"] == read["sha"]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({}, 422, "validation_failed", "/files"),
        ({"files": []}, 422, "validation_failed", "/files"),
        ({"files": FILES[:1]}, 422, "validation_failed", "/files/0/content"),
        ({"files": [*FILES, {"path": "../x", "content": ""}]}, 422, None, "/files/2/path"),
        ({"files": [*FILES, {"path": ".env", "content": ""}]}, 422, "secret_path", "/files/2/path"),
        (
            {"files": [*FILES, {"path": "x", "content": "?", "encoding": "base64"}]},
            422,
            "validation_failed",
            "/files/2/content",
        ),
        ({"files": FILES, "expected_sha": "x"}, 422, "validation_failed", "/expected_sha"),
        ({"files": FILES, "expected_sha": "a" * 40}, 409, "worker_conflict", None),
        ({"files": FILES, "nonsense": 1}, 422, "validation_failed", "/nonsense"),
    ],
)
def test_what_does_not_hold_saves_nothing(
    world: World, call: Call, body: Any, status: int, code: str | None, pointer: str | None
) -> None:
    tip = world.workspace.tip()

    answer = call("PUT", "/workers/notes/files", body)

    assert answer.status_code == status, answer.text
    assert code in (None, answer.json["error_code"])
    if pointer is not None:
        assert pointer in [each["pointer"] for each in answer.json["errors"]]
    assert world.workspace.tip() == tip


@pytest.mark.parametrize("worker_id", ["reload", "import-from-share"])
def test_reserved_ids_are_refused(call: Call, worker_id: str) -> None:
    assert call("PUT", f"/workers/{worker_id}/files", {"files": FILES}).status_code == 422


def test_a_member_needs_an_administrator_for_what_reaches_out(call: Call) -> None:
    reaching = [{"path": "worker.yml", "content": MANIFEST + "exec: {secrets: [KEY]}\n"}, FILES[1]]
    assert call("PUT", "/workers/notes/files", {"files": FILES}, Role.MEMBER).status_code == 201

    refused = call("PUT", "/workers/notes/files", {"files": reaching}, Role.MEMBER)
    assert (refused.status_code, refused.json["error_code"]) == (403, "capability_requires_admin")
    assert call("PUT", "/workers/notes/files", {"files": reaching}).status_code == 200
    for method, path, body in (
        ("PUT", "/workers/notes/files", {"files": FILES}),
        ("DELETE", "/workers/notes", None),
    ):
        assert call(method, path, body, Role.MEMBER).json["error_code"] == (
            "capability_requires_admin"
        )


def test_versions_are_paged_and_lead_back(call: Call) -> None:
    for number in range(3):
        files = [FILES[0], {"path": "run.py", "content": f"print({number})\n"}]
        call("PUT", "/workers/notes/files", {"files": files})
    first = call("GET", "/workers/notes/versions?limit=2")
    assert [row["message"] for row in first.json] == ["worker: update notes\n"] * 2
    (oldest,) = call(
        "GET", f"/workers/notes/versions?limit=2&cursor={first.headers['x-next-cursor']}"
    ).json
    assert oldest["author"] == "local-user <local-user@floom.local>"

    back = call("POST", "/workers/notes/rollback", {"commit": oldest["commit"]})

    assert back.status_code == 200
    assert back.json["sha"] == oldest["sha"]
    newest = call("GET", "/workers/notes/versions").json[0]
    assert newest["message"] == f"worker: roll back notes to {oldest['commit'][:7]}\n"
    assert newest["sha"] == oldest["sha"]


def test_a_deleted_worker_leaves_its_runs_and_can_come_back(world: World, call: Call) -> None:
    call("PUT", "/workers/notes/files", {"files": FILES})
    queued = call("POST", "/workers/notes/runs", {}).json["id"]

    assert call("DELETE", "/workers/notes").status_code == 204

    assert call("DELETE", "/workers/notes").status_code == 404
    assert call("GET", "/workers/notes").status_code == 404
    assert call("GET", f"/runs/{queued}").json["status"] == RunStatus.CANCELLED
    deleted, made = call("GET", "/workers/notes/versions").json
    assert deleted["sha"] is None
    gone = call("POST", "/workers/notes/rollback", {"commit": deleted["commit"]})
    assert (gone.status_code, gone.json["error_code"]) == (404, "version_not_found")
    assert call("POST", "/workers/notes/rollback", {"commit": made["commit"]}).status_code == 200
    assert call("GET", "/workers/notes").json["status"] == "healthy"


def test_a_worker_that_never_was_is_not_found(call: Call) -> None:
    for method, path, body in (
        ("GET", "/workers/none/files", None),
        ("GET", "/workers/none/versions", None),
        ("DELETE", "/workers/none", None),
    ):
        answer = call(method, path, body)
        assert (answer.status_code, answer.json["error_code"]) == (404, "worker_not_found")


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.mark.parametrize("folder", ["", "notes/", "anything/"])
def test_a_zip_of_the_folder_will_do(world: World, call: Call, folder: str) -> None:
    data = zipped(**{f"{folder}worker.yml": MANIFEST, f"{folder}run.py": "", f"{folder}a/b": "x"})

    saved = call("PUT", "/workers/notes/files", {"upload_id": world.upload(data, "n.zip").id})

    assert saved.status_code == 201, saved.text
    assert [each["path"] for each in saved.json["files"]] == ["a/b", "run.py", "worker.yml"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"hello", 400, "bad_bundle"),
        (zipped(**{"run.py": ""}), 422, "validation_failed"),
        (zipped(**{"worker.yml": "name: [", "run.py": ""}), 422, "validation_failed"),
        (zipped(**{"worker.yml": MANIFEST, "run.py": "", ".env": ""}), 422, "secret_path"),
        (zipped(**{"worker.yml": MANIFEST, "../run.py": ""}), 400, "bad_bundle"),
    ],
)
def test_a_zip_that_does_not_hold_saves_nothing(
    world: World, call: Call, data: bytes, status: int, code: str
) -> None:
    tip = world.workspace.tip()
    body = {"upload_id": world.upload(data, "n.zip").id}

    answer = call("PUT", "/workers/notes/files", body)

    assert (answer.status_code, answer.json["error_code"]) == (status, code), answer.text
    if status == 422:
        assert {each["pointer"] for each in answer.json["errors"]} == {"/upload_id"}
    assert call("PUT", "/workers/notes/files", {**body, "files": FILES}).status_code == 422
    assert world.workspace.tip() == tip


def test_a_credential_in_a_file_is_named_and_saved(world: World, call: Call) -> None:
    leak = "npm_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    files = [FILES[0], {"path": "run.py", "content": f"\nK = '{leak}'\n"}]

    saved = call("PUT", "/workers/notes/files", {"files": files})

    assert saved.status_code == 201
    assert "run.py:2 npm token" in saved.headers["x-floom-warning"]
    assert leak not in str(saved.headers)
    world.write_worker("notes", run_py=f"K = '{leak}'\n")
    reloaded = call("POST", "/workers/reload", {})
    assert ["workers/notes/run.py, line 1" in each for each in reloaded.json["warnings"]] == [True]


def test_a_name_that_is_not_utf_8_is_shown(world: World, call: Call) -> None:
    """A person may push it."""
    world.add_worker("plain")
    world.push(os.fsdecode(b"workers/plain/caf\xe9.txt"), b"x", 0o100644)
    for path in ("/workers/plain", "/workers/plain/files"):
        answer = call("GET", path)
        assert answer.status_code == 200, answer.text
        assert any("caf" in each["path"] for each in answer.json["files"])


def test_a_path_deeper_than_a_reload_takes_is_refused(world: World, call: Call) -> None:
    world.add_worker("plain")
    files = [{"path": "a/" * 500 + "x", "content": ""}]
    answer = call("PUT", "/workers/plain/files", {"files": files})
    assert answer.status_code == 422
    assert "deeper than 64" in answer.text


def test_a_credential_that_comes_back_by_a_rollback_is_named(world: World, call: Call) -> None:
    leak = "npm_" + "aB3dE6gH9j" * 3 + "aB3dE6\n"
    world.add_worker("plain", more_txt=leak)
    commit = world.workspace.tip()
    (world.root / "workspace/workers/plain/more.txt").write_text("clean")
    world.reload()
    answer = call("POST", "/workers/plain/rollback", {"commit": commit})
    assert answer.status_code == 200, answer.text
    assert "npm token" in answer.headers["x-floom-warning"]
