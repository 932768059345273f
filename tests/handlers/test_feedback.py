"""Feedback over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import feedback, issues, runs
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from lib.workspace.once import Once
from lib.workspace.workspace import Delete
from tests.contract.fused import Fuse, Killed
from tests.lib.runs.world import AUTHOR, World, open_world

Call = Callable[..., testing.Result]
ULID = "01m84zzzzzzzzzzzzzzzzzzzzz"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def caller(world: World, life: str = "a life") -> Call:
    """Return a way to call one life of a server."""
    services = replace(
        world.services(),
        once=Once(claims=world.claims, workspace=world.workspace, clock=world.clock, owner=life),
    )
    app = create_app(
        [route for group in (runs, feedback, issues) for route in group.routes(services)],
        authenticator=Authenticator(secret=None, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )

    def call(method: str, path: str, body: Any = None, **headers: str) -> testing.Result:
        path, _, query = path.partition("?")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return testing.simulate_request(
            app,
            method,
            path,
            host="localhost",
            headers={"content-type": "application/json", **given},
            body=None if body is None else json.dumps(body),
            query_string=query,
        )

    return call


@pytest.fixture
def call(world: World) -> Call:
    return caller(world)


@pytest.fixture
def run_id(world: World) -> str:
    world.add_worker()
    return world.start().id


def test_it_is_left_shown_and_counted(world: World, call: Call, run_id: str) -> None:
    body = {"content": "Küche \u2028", "rating": 5, "feedback_id": "a:b.c-d_1"}

    left = call("POST", f"/runs/{run_id}/feedback", body)

    assert left.status_code == 201, left.text
    assert left.json == {
        **body,
        "id": left.json["id"],
        "run_id": run_id,
        "created_by": "local-user",
        "created_at": "2026-01-01T00:00:00.001Z",
        "issue_id": None,
    }
    assert call("GET", f"/runs/{run_id}/feedback").json == [left.json]
    assert call("GET", f"/runs/{run_id}").json["feedback_count"] == 1


def test_pages_lead_from_the_newest_to_the_oldest(world: World, call: Call, run_id: str) -> None:
    for number in range(3):
        world.clock.advance(milliseconds=1)
        call("POST", f"/runs/{run_id}/feedback", {"content": str(number)})

    first = call("GET", f"/runs/{run_id}/feedback?limit=2")
    cursor = first.headers["x-next-cursor"]
    last = call("GET", f"/runs/{run_id}/feedback?limit=2&cursor={cursor}")

    assert [row["content"] for row in (*first.json, *last.json)] == ["2", "1", "0"]
    assert "x-next-cursor" not in last.headers


def test_the_same_again_is_200_and_other_words_are_409(call: Call, run_id: str) -> None:
    body = {"content": "Good", "feedback_id": "a"}
    first = call("POST", f"/runs/{run_id}/feedback", body)

    again = call("POST", f"/runs/{run_id}/feedback", body)
    other = call("POST", f"/runs/{run_id}/feedback", {**body, "content": "Bad"})

    assert (again.status_code, again.json) == (200, first.json)
    assert (other.status_code, other.json["error_code"]) == (409, "feedback_conflict")
    assert len(call("GET", f"/runs/{run_id}/feedback").json) == 1


def test_a_key_makes_two_requests_one(call: Call, run_id: str) -> None:
    path, body = f"/runs/{run_id}/feedback", {"content": "x" * 10_000}
    first = call("POST", path, body, idempotency_key="k")

    again = call("POST", path, body, idempotency_key="k")
    misused = call("POST", path, {"content": "y"}, idempotency_key="k")

    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert (misused.status_code, misused.json["error_code"]) == (422, "idempotency_key_reused")
    assert len(call("GET", path).json) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/content"),
        ({"content": ""}, "/content"),
        ({"content": "x" * 10_001}, "/content"),
        ({"content": 1}, "/content"),
        *(
            ({"content": "x", "rating": rating}, "/rating")
            for rating in (0, 6, "good", True, 2.5, "1")
        ),
        *(
            ({"content": "x", "feedback_id": name}, "/feedback_id")
            for name in ("", "a b", "x" * 56, "a\n", "ü", "a/b")
        ),
        ({"content": "x", "nonsense": 1}, "/nonsense"),
    ],
)
def test_what_does_not_hold_is_refused(call: Call, run_id: str, body: Any, pointer: str) -> None:
    answer = call("POST", f"/runs/{run_id}/feedback", body)

    assert (answer.status_code, answer.json["error_code"]) == (422, "validation_failed")
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]
    assert call("GET", f"/runs/{run_id}/feedback").json == []


@pytest.mark.parametrize(("path", "status", "code"), [
    (f"/runs/run_{ULID}/feedback", 404, "run_not_found"),
    ("/runs/x/feedback", 400, "malformed_request"),
])  # fmt: skip
def test_of_no_run_nothing_can_be_said(call: Call, path: str, status: int, code: str) -> None:
    for method, body in (("GET", None), ("POST", {"content": "x"})):
        answer = call(method, path, body)
        assert (answer.status_code, answer.json["error_code"]) == (status, code)


def test_a_secret_that_somebody_pasted_is_not_shown(world: World, call: Call) -> None:
    world.add_worker("keyed", "exec: {secrets: [API_KEY]}\n")
    world.secrets.put("API_KEY", "s3cr3t-value", at=world.clock.now())
    run_id = world.start("keyed").id

    left = call("POST", f"/runs/{run_id}/feedback", {"content": "It printed s3cr3t-value."})

    assert left.json["content"] == "It printed ***."
    assert call("GET", f"/runs/{run_id}/feedback").json == [left.json]


def test_feedback_is_promoted_once(call: Call, run_id: str) -> None:
    path = f"/runs/{run_id}/feedback"
    call("POST", path, {"content": "Wrong", "rating": "down", "feedback_id": "a"})

    first = call("POST", f"{path}/issue", {"feedback_id": "a"})
    again = call("POST", f"{path}/issue", {"feedback_id": "a"})

    assert first.status_code == 201, first.text
    issue = call("GET", "/workspace/issues/ISSUE-0001").json
    comments = issue.pop("comments")
    assert first.json == {"issue_id": "ISSUE-0001", "created": True, "issue": issue}
    assert comments == []
    assert first.headers["location"] == "/workspace/issues/ISSUE-0001"
    assert (again.status_code, again.json) == (200, {**first.json, "created": False})
    assert (issue["asset_type"], issue["asset_id"]) == ("run", run_id)
    assert (issue["source"], issue["labels"]) == ("run_feedback", ["run-feedback", "feedback:a"])
    assert call("GET", path).json[0]["issue_id"] == "ISSUE-0001"


def test_content_alone_is_left_and_promoted(call: Call, run_id: str) -> None:
    body = {"content": "Wrong", "rating": 1, "title": "Totals are off"}

    made = call("POST", f"/runs/{run_id}/feedback/issue", body)

    assert (made.status_code, made.json["issue"]["title"]) == (201, "Totals are off")
    (row,) = call("GET", f"/runs/{run_id}/feedback").json
    assert (row["content"], row["rating"], row["feedback_id"]) == ("Wrong", 1, row["id"])
    assert made.json["issue"]["labels"] == ["run-feedback", f"feedback:{row['id']}"]


@pytest.mark.parametrize("name", [{}, {"feedback_id": "a"}])
def test_a_key_makes_two_promotions_one(call: Call, run_id: str, name: dict[str, str]) -> None:
    path, body = f"/runs/{run_id}/feedback/issue", {"content": "Wrong", **name}

    first = call("POST", path, body, idempotency_key="k")
    again = call("POST", path, body, idempotency_key="k")
    misused = call("POST", path, {**body, "title": "t"}, idempotency_key="k")

    assert first.status_code == 201
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert misused.json["error_code"] == "idempotency_key_reused"
    assert len(call("GET", "/workspace/issues").json["issues"]) == 1
    assert len(call("GET", f"/runs/{run_id}/feedback").json) == 1


@pytest.mark.parametrize("step", ["before settle", "after settle"])
def test_a_key_makes_one_issue_across_lives_of_the_server(
    world: World, run_id: str, step: str
) -> None:
    """The first life is killed when the issue stands and the answer is not sent."""
    path, body = f"/runs/{run_id}/feedback/issue", {"content": "Wrong"}

    def die(at: str) -> None:
        if at == step:
            raise Killed

    claims, world.claims = world.claims, Fuse(between=die).protect(world.claims)
    with suppress(Killed):
        caller(world, "an earlier life")("POST", path, body, idempotency_key="k")
    world.claims = claims

    again = caller(world, "this life")("POST", path, body, idempotency_key="k")

    assert again.status_code == (200 if step == "before settle" else 201)
    assert again.json["issue_id"] == "ISSUE-0001"
    assert world.feedback.count(run_id) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/feedback_id"),
        ({"rating": 1}, "/feedback_id"),
        ({"feedback_id": "a b"}, "/feedback_id"),
        ({"content": ""}, "/content"),
        ({"content": "x", "title": ""}, "/title"),
        ({"content": "x", "title": "x" * 301}, "/title"),
        ({"content": "x", "title": "a\nb"}, "/title"),
        ({"content": "x", "labels": []}, "/labels"),
    ],
)
def test_a_promotion_that_does_not_hold_is_refused(
    call: Call, run_id: str, body: Any, pointer: str
) -> None:
    answer = call("POST", f"/runs/{run_id}/feedback/issue", body)

    assert (answer.status_code, answer.json["error_code"]) == (422, "validation_failed")
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]
    assert call("GET", "/workspace/issues").json["issues"] == []


def test_what_is_not_there_is_not_promoted(call: Call, run_id: str) -> None:
    unknown = call("POST", f"/runs/{run_id}/feedback/issue", {"feedback_id": "a"})
    nowhere = call("POST", f"/runs/run_{ULID}/feedback/issue", {"content": "x"})

    assert (unknown.status_code, unknown.json["error_code"]) == (404, "feedback_not_found")
    assert (nowhere.status_code, nowhere.json["error_code"]) == (404, "run_not_found")


def test_an_issue_whose_file_is_gone_is_null(world: World, call: Call, run_id: str) -> None:
    path = f"/runs/{run_id}/feedback/issue"
    call("POST", path, {"content": "x", "feedback_id": "a"})
    world.workspace.commit(lambda _: [Delete(".floom/issues/ISSUE-0001.md")], "x", AUTHOR)

    again = call("POST", path, {"feedback_id": "a"})

    assert again.status_code == 200
    assert again.json == {"issue_id": "ISSUE-0001", "created": False, "issue": None}


def test_what_looks_like_a_credential_is_named_to_who_promotes_it(call: Call, run_id: str) -> None:
    key = "npm_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
    path = f"/runs/{run_id}/feedback/issue"

    made = call("POST", path, {"content": f"It printed\n{key}", "feedback_id": "a"})
    again = call("POST", path, {"feedback_id": "a"})

    assert "npm token" in made.headers["x-floom-warning"]
    assert key not in made.headers["x-floom-warning"]
    assert "x-floom-warning" not in again.headers
