"""Secrets over HTTP: values go in, names and times come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import connections, runs, workers
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import rfc3339
from lib.runs import state
from lib.storage.stored import Stored
from lib.web.app import App, create_app
from lib.web.inert import Inert
from lib.web.openapi import build
from lib.web.shutdown import Shutdown
from tests.lib.runs.world import World, open_world

SECRET = "the secret of this server"
PATH = "/connections/secrets"
VALUE = "a value that nobody may read"
Call = Callable[..., testing.Result]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def app_of(world: World, role: Role) -> App:
    services = world.services()
    return create_app(
        [route for group in (connections, workers, runs) for route in group.routes(services)],
        authenticator=Authenticator(secret=SECRET, shared_secret_role=role),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )


def caller(world: World, role: Role) -> Call:
    app = app_of(world, role)

    def call(method: str, path: str, body: Any = None) -> testing.Result:
        headers = {"x-floom-secret": SECRET, "content-type": "application/json"}
        text = None if body is None else json.dumps(body)
        path, _, query = path.partition("?")
        return testing.simulate_request(
            app, method, path, host="localhost", headers=headers, body=text, query_string=query
        )

    return call


@pytest.fixture
def admin(world: World) -> Call:
    return caller(world, Role.ADMIN)


@pytest.fixture
def member(world: World) -> Call:
    return caller(world, Role.MEMBER)


def refusal(answer: testing.Result) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert VALUE not in answer.text
    return answer.status_code, answer.json["error_code"]


def test_a_stored_value_is_known_by_name_and_times_only(world: World, admin: Call) -> None:
    stored_at = world.clock.now()
    answer = admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    assert (answer.status_code, answer.text) == (204, "")
    assert "x-floom-warning" not in answer.headers

    used_at = world.clock.advance(seconds=1)
    assert world.secrets.values(["API_KEY"], at=used_at) == {"API_KEY": VALUE}
    assert admin("GET", PATH).json == [
        {
            "name": "API_KEY",
            "status": "set",
            "used_by": [],
            "updated_at": rfc3339(stored_at),
            "last_used_at": rfc3339(used_at),
        }
    ]


def test_declared_names_are_listed_with_their_workers_stored_or_not(
    world: World, admin: Call, member: Call
) -> None:
    world.add_worker("one", "exec: {secrets: [SHARED, MISSING]}\n")
    world.add_worker("two", "capabilities: {secrets: [SHARED]}\n")
    world.add_worker("broken", "exec: {secrets: 7\n")
    admin("PUT", f"{PATH}/SHARED", {"value": VALUE})
    admin("PUT", f"{PATH}/UNUSED", {"value": VALUE})

    rows = member("GET", PATH).json

    assert [(row["name"], row["status"], row["used_by"]) for row in rows] == [
        ("MISSING", "missing", ["one"]),
        ("SHARED", "set", ["one", "two"]),
        ("UNUSED", "set", []),
    ]
    assert rows[0]["updated_at"] is None
    assert member("GET", "/secrets").json == rows


def test_a_list_comes_in_pages_by_name(admin: Call) -> None:
    for name in ("C", "A", "B"):
        admin("PUT", f"{PATH}/{name}", {"value": VALUE})
    for path in (PATH, "/secrets"):
        first = admin("GET", f"{path}?limit=2")
        assert [row["name"] for row in first.json] == ["A", "B"]
        assert first.headers["link"].startswith(f"<{path}?")
        second = admin("GET", f"{path}?limit=2&cursor={first.headers['x-next-cursor']}")
        assert [row["name"] for row in second.json] == ["C"]
        assert "link" not in second.headers


def test_a_put_replaces_and_a_delete_removes_once(world: World, admin: Call) -> None:
    for value in ("first value", "second value"):
        assert admin("PUT", f"{PATH}/API_KEY", {"value": value}).status_code == 204
    assert world.secrets.values(["API_KEY"]) == {"API_KEY": "second value"}

    assert admin("DELETE", f"{PATH}/API_KEY").status_code == 204
    assert refusal(admin("DELETE", f"{PATH}/API_KEY")) == (404, "secret_not_found")
    assert admin("GET", PATH).json == []


def test_members_may_look_but_not_write(world: World, member: Call) -> None:
    assert refusal(member("PUT", f"{PATH}/API_KEY", {"value": VALUE})) == (403, "forbidden")
    world.secrets.put("API_KEY", VALUE, at=world.clock.now())
    assert refusal(member("DELETE", f"{PATH}/API_KEY")) == (403, "forbidden")
    assert world.secrets.values(["API_KEY"]) == {"API_KEY": VALUE}
    assert member("GET", PATH).status_code == 200


@pytest.mark.parametrize("name", ["api_key", "1KEY", "_KEY", "KEY-1", "K" * 65, "KEY%0A", "É"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_name_of_another_form_is_400(admin: Call, method: str, name: str) -> None:
    answer = admin(method, f"{PATH}/{name}", {"value": VALUE})
    assert refusal(answer) == (400, "malformed_request")


@pytest.mark.parametrize(
    "name",
    [
        "FLOOM_API_URL", "FLOOM_", "WORKEROS_X", "PATH", "HOME", "LD_PRELOAD", "PYTHONPATH",
        "PYTHON", "NODE_OPTIONS", "BASH_ENV", "HTTP_PROXY", "ALL_PROXY",
    ],
)  # fmt: skip
def test_a_reserved_name_is_422_and_not_stored(world: World, admin: Call, name: str) -> None:
    assert refusal(admin("PUT", f"{PATH}/{name}", {"value": VALUE})) == (422, "validation_failed")
    assert world.secrets.list() == []


@pytest.mark.parametrize("name", ["A", "K" * 64, "PATHS", "MY_PATH", "HOMES", "A_FLOOM_", "PROXY"])
def test_a_name_that_only_resembles_a_reserved_one_is_taken(admin: Call, name: str) -> None:
    assert admin("PUT", f"{PATH}/{name}", {"value": VALUE}).status_code == 204


REFUSED: dict[str, tuple[Any, str]] = {
    "none": ({}, "/value"),
    "empty": ({"value": ""}, "/value"),
    "null": ({"value": None}, "/value"),
    "number": ({"value": 123456}, "/value"),
    "too long": ({"value": VALUE + "x" * 32_768}, "/value"),
    "zero character": ({"value": f"{VALUE}\0"}, "/value"),
    "too many bytes": ({"value": "\N{KEY}" * 32_768}, "/value"),
    "unknown field": ({"value": VALUE, "name": "API_KEY"}, "/name"),
}


@pytest.mark.parametrize(("body", "pointer"), REFUSED.values(), ids=REFUSED)
def test_a_value_that_no_variable_holds_is_422_and_never_quoted(
    world: World, admin: Call, body: Any, pointer: str
) -> None:
    headers = {"x-floom-secret": SECRET, "content-type": "application/json"}
    answer = testing.simulate_request(
        app_of(world, Role.ADMIN), "PUT", f"{PATH}/API_KEY", host="localhost", headers=headers,
        body=json.dumps(body, ensure_ascii=False).encode(),
    )  # fmt: skip
    assert refusal(answer) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert world.secrets.list() == []


@pytest.mark.parametrize("value", ["x", "12345", " 1234 \n"])
def test_a_value_too_short_to_be_masked_is_stored_with_a_warning(
    world: World, admin: Call, value: str
) -> None:
    answer = admin("PUT", f"{PATH}/PIN", {"value": value})
    assert answer.status_code == 204
    assert "cannot be masked" in answer.headers["x-floom-warning"]
    assert value not in answer.headers["x-floom-warning"].split()
    assert world.secrets.values(["PIN"]) == {"PIN": value}


def test_the_longest_value_is_taken(world: World, admin: Call) -> None:
    assert admin("PUT", f"{PATH}/LONG", {"value": "x" * 32_768}).status_code == 204
    assert len(world.secrets.values(["LONG"])["LONG"]) == 32_768


def test_no_answer_of_any_kind_has_a_value(admin: Call) -> None:
    admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    for method in ("GET", "HEAD", "POST", "PATCH", "OPTIONS"):
        for path in (PATH, "/secrets", f"{PATH}/API_KEY", "/workers"):
            answer = admin(method, path)
            assert VALUE not in answer.text + str(answer.headers)


def test_the_reference_says_that_a_value_is_never_read() -> None:
    document = build(connections.routes(Inert()), version="0")  # type: ignore[arg-type]
    value = document["components"]["schemas"]["SecretValue"]["properties"]["value"]
    assert value["writeOnly"] is True
    put = document["paths"]["/connections/secrets/{secret_name}"]["put"]
    assert "Administrators only." in put["description"]
    assert "x-floom-warning" in put["description"]
    assert put["parameters"][0]["schema"]["pattern"] == "^[A-Z][A-Z0-9_]{0,63}$"


INPUTS = (
    "exec: {secrets: [API_KEY], inputs: [{name: text, type: string}, {name: any, type: json}]}\n"
)


def test_inputs_and_outputs_are_masked_where_shown_and_stored_as_they_are(
    world: World, admin: Call
) -> None:
    world.add_worker(manifest=INPUTS)
    admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    inputs = {"text": f"use {VALUE}", "any": {VALUE: [VALUE, 1]}}
    masked = {"text": "use ***", "any": {"***": ["***", 1]}}

    started = admin("POST", "/workers/plain/runs", {"inputs": inputs})
    assert started.status_code == 202
    assert started.json["inputs"] == masked
    run = world.claim(world.runs.get(started.json["id"]))
    outputs = json.dumps({"key": VALUE})
    world.settle(run, state.Completed(run.fence, Stored(len(outputs), text=outputs)))

    shown = admin("GET", f"/runs/{run.id}").json
    assert (shown["inputs"], shown["outputs"]) == (masked, {"key": "***"})
    assert admin("POST", f"/runs/{run.id}/replay", {}).json["inputs"] == masked
    assert world.inputs_of(run) == inputs
    assert world.outputs_of(world.runs.get(run.id)) == {"key": VALUE}


def test_a_repeated_start_is_answered_masked_too(world: World, admin: Call) -> None:
    world.add_worker(manifest=INPUTS)
    admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    body = {"inputs": {"text": VALUE}, "idempotency_key": "k"}
    first, second = (admin("POST", "/workers/plain/runs", body) for _ in range(2))
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json["inputs"] == second.json["inputs"] == {"text": "***"}


def test_what_another_worker_declares_is_not_masked(world: World, admin: Call) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: text, type: string}]}\n")
    world.add_worker("other", "exec: {secrets: [API_KEY]}\n")
    admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    run = world.start(text=VALUE)
    assert admin("GET", f"/runs/{run.id}").json["inputs"] == {"text": VALUE}


def test_the_list_of_runs_reads_no_secret(world: World, admin: Call) -> None:
    world.add_worker(manifest=INPUTS)
    admin("PUT", f"{PATH}/API_KEY", {"value": VALUE})
    run = world.start()

    def fail(*_: object, **__: object) -> dict[str, str]:
        raise AssertionError("a list must not read secrets")

    world.secrets.values = fail  # type: ignore[method-assign]
    assert [row["id"] for row in admin("GET", "/runs").json] == [run.id]
    assert admin("GET", "/workers").status_code == 200
