"""Export and import over HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from falcon import testing

from handlers import uploads, workers, workspace
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from lib.workspace.once import Once
from tests.handlers.losing_claims import LosingClaims
from tests.lib.runs.world import World, open_world
from tests.lib.workspace.place import put

SECRET = "the secret of this server"
ZIP = "application/zip"
Call = Callable[..., testing.Result]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def claims(world: World) -> LosingClaims:
    return LosingClaims(world.claims)


@pytest.fixture
def call(world: World, claims: LosingClaims) -> Call:
    once = Once(claims=claims, workspace=world.workspace, clock=world.clock, owner="a life")
    services = replace(world.services(), once=once)
    apps = {
        role: create_app(
            [route for group in (workers, workspace, uploads) for route in group.routes(services)],
            authenticator=Authenticator(secret=SECRET, shared_secret_role=role),
            clock=world.clock,
            public_url="http://localhost:8000",
            shutdown=Shutdown(),
        )
        for role in Role
    }

    def call(
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = ZIP,
        *,
        role: Role = Role.ADMIN,
        **headers: str,
    ) -> testing.Result:
        path, _, query = path.partition("?")
        given = {"x-floom-secret": SECRET, "content-type": kind}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        return testing.simulate_request(
            apps[role], method, path, host="localhost", headers=given, body=body, query_string=query
        )

    return call


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("contexts/book/page.md", "# Page")
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def form(data: bytes, field: str = "bundle") -> tuple[bytes, str]:
    head = f'--cut\r\nContent-Disposition: form-data; name="{field}"; filename="w.zip"\r\n\r\n'
    return head.encode() + data + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut"


def uploaded(world: World, data: bytes) -> str:
    return world.upload(data, "w.zip").id


def test_the_export_is_a_zip_to_keep(world: World, call: Call) -> None:
    world.add_worker("plain")
    answer = call("GET", "/workspace/export?exported_at=2026-01-01T00:00:00Z")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == ZIP
    assert answer.headers["cache-control"] == "no-store"
    assert "attachment" in answer.headers["content-disposition"]
    assert "x-floom-warning" not in answer.headers
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        summary = json.loads(archive.read("workspace.json"))
    assert summary["exported_at"] == "2026-01-01T00:00:00.000Z"
    again = call("GET", "/workspace/export?exported_at=2026-01-01T00:00:00Z")
    assert again.content == answer.content


def test_credentials_inside_are_named_and_not_told(world: World, call: Call) -> None:
    leak = "npm_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    world.add_worker("plain", run_py=f"# t\nK = '{leak}'\n")
    warning = call("GET", "/workspace/export").headers["x-floom-warning"]
    assert "workers/plain/run.py:2 npm token" in warning
    assert leak not in warning


def test_what_is_left_out_is_counted(world: World, call: Call) -> None:
    leak = "npm_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    world.add_worker("plain", run_py=f"K = '{leak}'\n")
    put(world.workspace, ("contexts/a/x.pem", b""))
    assert call("GET", "/workspace/export").headers["x-floom-warning"] == (
        "looks like a live credential: workers/plain/run.py:1 npm token; "
        "left out, see workspace.json: 1 file"
    )


def test_the_head_of_an_export_is_that_of_the_export(world: World, call: Call) -> None:
    world.add_worker("plain")
    whole, head = call("GET", "/workspace/export"), call("HEAD", "/workspace/export")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))


def test_what_no_import_would_take_is_refused(world: World, call: Call) -> None:
    zeros = bytes(21 * 1024 * 1024)
    put(world.workspace, *((f"contexts/a/{n}", zeros) for n in range(10)))
    answer = call("GET", "/workspace/export")
    assert (answer.status_code, answer.json["error_code"]) == (409, "export_too_large")
    assert "contexts/a" in answer.json["detail"]


@pytest.mark.parametrize("way", ["body", "form", "upload"])
def test_each_way_in_leads_in(world: World, call: Call, way: str) -> None:
    data = zipped()
    body, kind = data, ZIP
    if way == "form":
        body, kind = form(data)
    if way == "upload":
        body, kind = json.dumps({"upload_id": uploaded(world, data)}).encode(), "application/json"

    answer = call("POST", "/workspace/import", body, kind)

    assert answer.status_code == 200, answer.text
    assert answer.json == {
        "dry_run": False, "workers_imported": [], "contexts_imported": ["book"],
        "issues_imported": [], "skipped": [], "id_remaps": {}, "required_secrets": [],
        "required_connections": [], "workspace_md_present": False, "warnings": [],
    }  # fmt: skip
    assert world.workspace.view().read("contexts/book/page.md") == b"# Page"


def test_a_dry_run_writes_nothing(world: World, call: Call) -> None:
    tip = world.workspace.tip()
    answer = call("POST", "/workspace/import?dry_run=true", zipped())
    assert (answer.json["dry_run"], answer.json["contexts_imported"]) == (True, ["book"])
    assert world.workspace.tip() == tip


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"hello", ZIP, 400, "bad_bundle"),
        (b"", ZIP, 400, "bad_bundle"),
        (form(b"hello")[0], form(b"")[1], 400, "bad_bundle"),
        (form(b"hello", "other")[0], form(b"")[1], 400, "bad_bundle"),
        (b"nonsense", form(b"")[1], 400, "malformed_request"),
        (b"nonsense", "multipart/form-data", 400, "malformed_request"),
        (b"{", "application/json", 400, "malformed_request"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b'{"upload_id": 1}', "application/json", 422, "validation_failed"),
        (
            b'{"upload_id": "upl_01m84zzzzzzzzzzzzzzzzzzzzz"}',
            "application/json",
            404,
            "upload_not_found",
        ),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (zipped(**{"workspace.json": '{"schema_version": 2}'}), ZIP, 422, "unknown_schema_version"),
    ],
)
def test_what_cannot_be_imported_is_refused_whole(
    world: World, call: Call, body: bytes, kind: str, status: int, code: str
) -> None:
    tip = world.workspace.tip()
    answer = call("POST", "/workspace/import", body, kind)
    assert (answer.status_code, answer.json["error_code"]) == (status, code)
    assert world.workspace.tip() == tip


def test_bytes_that_were_announced_only_are_not_there(world: World, call: Call) -> None:
    data = zipped()
    upload = world.announce(data, sha256=hashlib.sha256(data).hexdigest())
    body = json.dumps({"upload_id": upload.id}).encode()
    answer = call("POST", "/workspace/import", body, "application/json")
    assert answer.json["error_code"] == "upload_not_found"


def test_members_may_do_neither(call: Call) -> None:
    for method, path in (("GET", "/workspace/export"), ("POST", "/workspace/import")):
        assert call(method, path, zipped(), role=Role.MEMBER).status_code == 403


def test_an_imported_worker_is_enabled_by_an_administrator(world: World, call: Call) -> None:
    world.add_worker("plain")
    data = call("GET", "/workspace/export").content
    remaps = call("POST", "/workspace/import", data).json["id_remaps"]
    assert remaps["plain"] == "plain-2"

    assert call("GET", "/workers/plain-2").json["status"] == "disabled"
    started = call("POST", "/workers/plain-2/runs", b"{}", "application/json")
    assert started.json["error_code"] == "worker_disabled"
    enable = b'{"enabled": true}'
    refused = call("PATCH", "/workers/plain-2", enable, "application/json", role=Role.MEMBER)
    assert refused.status_code == 403
    assert call("PATCH", "/workers/plain-2", enable, "application/json").json["status"] == "ready"


def test_a_key_imports_once(world: World, claims: LosingClaims, call: Call) -> None:
    claims.loses = True
    assert call("POST", "/workspace/import", zipped(), idempotency_key="k").status_code == 500
    tip = world.workspace.tip()

    for _ in range(2):
        again = call("POST", "/workspace/import", zipped(), idempotency_key="k")
        assert again.json == claims.lost[0]
        assert again.headers["idempotent-replayed"] == "true"
    assert world.workspace.tip() == tip
    other = call("POST", "/workspace/import", zipped(a="b"), idempotency_key="k")
    assert other.json["error_code"] == "idempotency_key_reused"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_has_not_is_refused(call: Call, at: str) -> None:
    answer = call("GET", f"/workspace/export?exported_at={at}")
    assert (answer.status_code, answer.json["error_code"]) == (422, "validation_failed")


def test_a_form_with_an_odd_field_name_is_refused(call: Call) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--x--\r\n'
    answer = call("POST", "/workspace/import", form, "multipart/form-data; boundary=x")
    assert answer.status_code == 400, answer.text
