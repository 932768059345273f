"""Uploads over HTTP: announced, sent, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import uploads
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.runs.uploads import MAX_UPLOAD_BYTES
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.lib.runs.world import World, open_world

Call = Callable[..., Any]
DATA = b"name,total\nAda,3\n"
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def call(world: World) -> Call:
    app = create_app(
        uploads.routes(world.services()),
        authenticator=Authenticator(secret=None, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )
    return lambda method, path, **given: testing.simulate_request(
        app, method, path, host="localhost", **given
    )


def announcement(data: bytes = DATA, **fields: Any) -> dict[str, Any]:
    return {
        "name": "data.csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "text/csv",
        **fields,
    }


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json["error_code"]


def announce(call: Call, data: bytes = DATA) -> str:
    answer = call("POST", "/uploads", json=announcement(data))
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def put(call: Call, upload_id: str, data: bytes) -> Any:
    return call("PUT", f"/uploads/{upload_id}", body=data, headers=BYTES)


def test_an_upload_is_announced_and_sent(world: World, call: Call) -> None:
    answer = call("POST", "/uploads", json=announcement())
    assert answer.status_code == 201
    upload_id = answer.json["id"]
    assert answer.json == {
        "id": upload_id,
        "put_url": f"http://localhost:8000/uploads/{upload_id}",
        "expires_at": "2026-01-02T00:00:00.000Z",
    }
    sent = put(call, upload_id, DATA)
    assert (sent.status_code, sent.content) == (204, b"")
    upload = world.uploads.get(upload_id)
    assert upload.created_by == "local-user"
    assert world.content.get(upload.sha256) == DATA


def test_the_media_type_is_optional(world: World, call: Call) -> None:
    body = announcement()
    del body["media_type"]
    upload_id = call("POST", "/uploads", json=body).json["id"]
    assert world.uploads.get(upload_id).media_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 201}, "/name"),
        *(({"name": name}, "/name") for name in ("a/b", "..", ".", "a\\b", "a\nb", "\x7f", "a\0b")),
        ({"size": -1}, "/size"),
        ({"size": MAX_UPLOAD_BYTES + 1}, "/size"),
        ({"size": "3"}, "/size"),
        ({"sha256": "A" * 64}, "/sha256"),
        ({"sha256": "a" * 63}, "/sha256"),
        ({"media_type": "csv"}, "/media_type"),
        ({"media_type": "text/csv\r\nx: y"}, "/media_type"),
        ({"url": "https://example.com"}, "/url"),
    ],
)
def test_a_bad_announcement_is_refused_with_its_place(
    call: Call, fields: dict[str, Any], pointer: str
) -> None:
    answer = call("POST", "/uploads", json=announcement(**fields))
    assert problem(answer) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["Größe 1 (neu).csv", "...", ".hidden", "-rf", "a:b"])
def test_any_plain_name_will_do(world: World, call: Call, name: str) -> None:
    answer = call("POST", "/uploads", json=announcement(name=name))
    assert world.uploads.get(answer.json["id"]).name == name


def test_other_bytes_are_refused_and_may_be_sent_again(world: World, call: Call) -> None:
    upload_id = announce(call)
    other = put(call, upload_id, DATA.replace(b"3", b"4"))
    assert problem(other) == (422, "validation_failed")
    assert [error["pointer"] for error in other.json["errors"]] == ["/sha256"]
    short = put(call, upload_id, DATA[:-1])
    assert [error["pointer"] for error in short.json["errors"]] == ["/size", "/sha256"]
    assert problem(put(call, upload_id, DATA + b"x")) == (413, "payload_too_large")
    assert world.blob_keys() == set()
    assert put(call, upload_id, DATA).status_code == 204
    assert list((world.root / "unfinished").iterdir()) == []


def test_bytes_are_taken_once(call: Call) -> None:
    upload_id = announce(call)
    put(call, upload_id, DATA)
    assert problem(put(call, upload_id, DATA)) == (409, "upload_conflict")


def test_an_empty_upload_is_fine(call: Call) -> None:
    assert put(call, announce(call, b""), b"").status_code == 204


def test_unknown_malformed_and_expired_uploads(world: World, call: Call) -> None:
    assert problem(put(call, world.ids.new("upl"), b"")) == (404, "upload_not_found")
    assert problem(put(call, "upl_nonsense", b"")) == (400, "malformed_request")
    upload_id = announce(call)
    world.clock.advance(hours=24)
    assert problem(put(call, upload_id, DATA)) == (404, "upload_not_found")
