"""Issues over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import Blob
from dulwich.repo import Repo
from falcon import testing

from handlers import issues
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from lib.workspace.once import Once
from tests.handlers.losing_claims import LosingClaims
from tests.lib.runs.world import World, open_world

PATH = "/workspace/issues"
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
    app = create_app(
        issues.routes(replace(world.services(), once=once)),
        authenticator=Authenticator(secret=None, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )

    def call(method: str, path: str, body: Any = None, key: str | None = None) -> testing.Result:
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["idempotency-key"] = key
        path, _, query = path.partition("?")
        text = None if body is None else json.dumps(body)
        return testing.simulate_request(
            app, method, path, host="localhost", headers=headers, body=text, query_string=query
        )

    return call


def listed(answer: testing.Result) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json["issues"]]


def test_an_issue_is_opened_discussed_and_closed(call: Call) -> None:
    made = call(
        "POST",
        PATH,
        {"title": "Totals", "body": "Off.", "labels": ["a", "a"], "asset_type": "worker", "asset_id": "x"},
    )  # fmt: skip
    assert made.status_code == 201
    assert made.headers["location"] == "/workspace/issues/ISSUE-0001"
    assert made.json == {
        "id": "ISSUE-0001", "status": "open", "title": "Totals", "body": "Off.",
        "asset_type": "worker", "asset_id": "x", "source": None, "labels": ["a"],
        "created_by": "local-user", "created_at": made.json["created_at"],
        "updated_by": "local-user", "updated_at": made.json["created_at"], "comment_count": 0,
    }  # fmt: skip

    said = call("POST", f"{PATH}/ISSUE-0001/comments", {"body": "Why?"})
    assert (said.status_code, said.json["body"]) == (201, "Why?")
    closed = call("PATCH", f"{PATH}/ISSUE-0001", {"status": "closed", "clear_asset": True})
    assert (closed.json["status"], closed.json["asset_id"]) == ("closed", None)
    found = call("GET", f"{PATH}/ISSUE-0001").json
    assert [each["id"] for each in found["comments"]] == [said.json["id"]]
    assert found["comment_count"] == 1
    assert call("GET", PATH).json == {
        "issues": [{name: value for name, value in found.items() if name != "comments"}],
        "skipped": [],
    }


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/title"]),
        ({"title": ""}, ["/title"]),
        ({"title": " "}, ["/title"]),
        ({"title": "a\nb"}, ["/title"]),
        ({"title": "x" * 301}, ["/title"]),
        ({"title": "x", "body": "ß" * 32_769}, ["/body"]),
        ({"title": "x", "labels": ["a"] * 21}, ["/labels"]),
        ({"title": "x", "labels": ["a" * 65, ""]}, ["/labels/0", "/labels/1"]),
        ({"title": "x", "asset_type": "worker"}, [""]),
        ({"title": "x", "asset_id": "worker"}, [""]),
        ({"title": "x", "asset_type": "planet", "asset_id": "x"}, ["/asset_type"]),
        ({"title": "x", "status": "open"}, ["/status"]),
    ],
)
def test_what_does_not_hold_is_named(call: Call, body: Any, pointers: list[str]) -> None:
    answer = call("POST", PATH, body)
    assert answer.status_code == 422, answer.text
    assert [each["pointer"] for each in answer.json["errors"]] == pointers
    assert listed(call("GET", PATH)) == []


def test_ids_of_no_form_and_of_no_issue(call: Call) -> None:
    for issue_id, status, code in (
        ("ISSUE-1", 400, "malformed_request"),
        ("issue-0001", 400, "malformed_request"),
        ("ISSUE-0001", 404, "issue_not_found"),
        ("ISSUE-00001", 404, "issue_not_found"),
    ):
        for method, path, body in (
            ("GET", f"{PATH}/{issue_id}", None),
            ("PATCH", f"{PATH}/{issue_id}", {"title": "x"}),
            ("POST", f"{PATH}/{issue_id}/comments", {"body": "x"}),
        ):
            answer = call(method, path, body)
            assert (answer.status_code, answer.json["error_code"]) == (status, code)


def test_filters_and_pages(call: Call) -> None:
    for number in range(5):
        call("POST", PATH, {"title": f"n{number}", "labels": ["odd" if number % 2 else "even"]})

    assert len(listed(call("GET", PATH))) == 5
    assert listed(call("GET", f"{PATH}?label=odd&status=open&asset_type=&q=N")) == [
        "ISSUE-0002",
        "ISSUE-0004",
    ]
    assert listed(call("GET", f"{PATH}?status=closed")) == []
    first = call("GET", f"{PATH}?label=even&limit=2")
    assert listed(first) == ["ISSUE-0001", "ISSUE-0003"]
    assert f"cursor={first.headers['x-next-cursor']}" in first.headers["link"]
    rest = call("GET", f"{PATH}?label=even&limit=2&cursor={first.headers['x-next-cursor']}")
    assert listed(rest) == ["ISSUE-0005"]
    assert "link" not in rest.headers
    assert call("GET", f"{PATH}?status=nonsense").status_code == 422
    assert call("GET", f"{PATH}?cursor=nonsense").status_code == 422


def test_a_broken_file_is_named_and_hides_nothing(world: World, call: Call) -> None:
    call("POST", PATH, {"title": "good"})
    path = world.root / "workspace/.floom/issues/ISSUE-0002.md"
    path.write_text("<<<<<<< HEAD\n")
    world.reload()

    answer = call("GET", PATH)
    assert listed(answer) == ["ISSUE-0001"]
    assert answer.json["skipped"] == [
        {
            "path": ".floom/issues/ISSUE-0002.md",
            "reason": "does not begin with front matter between two lines of ---",
        }
    ]
    broken = call("GET", f"{PATH}/ISSUE-0002")
    assert (broken.status_code, broken.json["error_code"]) == (409, "issue_broken")


@pytest.mark.parametrize("kind", ["issue", "comment"])
def test_a_key_makes_one_effect(world: World, call: Call, kind: str) -> None:
    call("POST", PATH, {"title": "first"})
    path, body = (
        (PATH, {"title": "x"})
        if kind == "issue"
        else (f"{PATH}/ISSUE-0001/comments", {"body": "x"})
    )

    first = call("POST", path, body, key="k")
    tip = world.workspace.tip()
    again = call("POST", path, body, key="k")

    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert world.workspace.tip() == tip
    reused = call("POST", path, {**body, "body": "other"}, key="k")
    assert (reused.status_code, reused.json["error_code"]) == (422, "idempotency_key_reused")
    assert call("POST", path, body, key="k2").json["id"] != first.json["id"]


@pytest.mark.parametrize("kind", ["issue", "comment"])
def test_an_answer_that_got_lost_is_given_again(
    world: World, claims: LosingClaims, call: Call, kind: str
) -> None:
    call("POST", PATH, {"title": "first"})
    path, body = (
        (PATH, {"title": "x"})
        if kind == "issue"
        else (f"{PATH}/ISSUE-0001/comments", {"body": "x"})
    )
    claims.loses = True
    assert call("POST", path, body, key="k").status_code == 500
    tip = world.workspace.tip()

    again = call("POST", path, body, key="k")
    assert (again.status_code, again.json) == (201, claims.lost[0])
    assert world.workspace.tip() == tip


def test_a_change_that_was_made_is_answered_though_comments_are_damaged(
    world: World, call: Call
) -> None:
    issue_id = call("POST", "/workspace/issues", {"title": "first"}).json["id"]
    with Repo(str(world.root / "workspace")) as repository:
        world.push(f".floom/issues/{issue_id}.comments.ndjson", b"said", 0o100644)
        blob = Blob.from_string(b"said").id.decode()
        path = Path(repository.object_store.path) / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    answer = call("PATCH", f"/workspace/issues/{issue_id}", {"title": "second"})
    assert answer.status_code == 200, answer.text
    assert answer.json["title"] == "second"


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("where", ["title", "body", "labels", "asset_id"])
def test_a_credential_in_any_text_is_named(call: Call, where: str, change: bool) -> None:
    leak = "npm_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    body: dict[str, Any] = {"title": "first", where: [leak] if where == "labels" else leak}
    if where == "asset_id":
        body["asset_type"] = "worker"
    if change:
        issue_id = call("POST", "/workspace/issues", {"title": "before"}).json["id"]
        answer = call("PATCH", f"/workspace/issues/{issue_id}", body)
    else:
        answer = call("POST", "/workspace/issues", body)
    assert "npm token" in answer.headers["x-floom-warning"]
