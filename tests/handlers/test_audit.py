"""The audit log over HTTP: for administrators, by page; what real calls leave in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from falcon.routing import map_http_methods

from handlers.registry import all_routes
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import rfc3339
from lib.web.access import RUN_TEMPLATES
from lib.web.app import App, create_app
from lib.web.inert import Inert
from lib.web.origins import UNSAFE_METHODS
from lib.web.path_ids import PATTERNS
from lib.web.shutdown import Shutdown
from tests.lib.runs.world import World, open_world

SECRET = "the secret of this server"
VALUE = "a value that nobody may read"
Call = Callable[..., testing.Result]
# Path parameters of changes that are not on record, for a reason each.
LEFT_OUT = {"token"}  # a credential


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def app_of(world: World, role: Role) -> App:
    return create_app(
        all_routes(world.services()),
        authenticator=Authenticator(secret=SECRET, shared_secret_role=role),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
        audit=world.audit,
        rates=world.rates,
    )


def caller(world: World, role: Role) -> Call:
    app = app_of(world, role)

    def call(method: str, path: str, body: Any = None) -> testing.Result:
        headers = {"x-floom-secret": SECRET, "content-type": "application/json"}
        text = None if body is None else json.dumps(body)
        path, _, query = path.partition("?")
        return testing.simulate_request(
            app,
            method,
            path,
            host="localhost",
            headers=headers,
            body=text,
            query_string=query,
            remote_addr="192.0.2.7",
        )

    return call


@pytest.fixture
def admin(world: World) -> Call:
    return caller(world, Role.ADMIN)


@pytest.fixture
def member(world: World) -> Call:
    return caller(world, Role.MEMBER)


def test_a_change_is_listed_with_what_it_changed_and_nothing_that_was_sent(
    world: World, admin: Call
) -> None:
    answer = admin("PUT", "/connections/secrets/API_KEY?", {"value": VALUE})
    listed = admin("GET", "/audit")
    assert VALUE not in listed.text
    (entry,) = listed.json
    assert entry == {
        "id": entry["id"],
        "at": rfc3339(world.clock.now()),
        "user_id": "local-user",
        "role": "admin",
        "method": "shared_secret",
        "http_method": "PUT",
        "route": "/connections/secrets/{secret_name}",
        "object": {"secret_name": "API_KEY"},
        "status": 204,
        "error_code": None,
        "address": "192.0.2.7",
        "request_id": answer.headers["x-request-id"],
    }


def test_what_was_refused_is_listed_too(world: World, admin: Call, member: Call) -> None:
    world.add_worker("hello")
    member("DELETE", "/connections/secrets/API_KEY")
    member("POST", "/workers/nobody/runs", {"inputs": {}})
    member("POST", "/workers/hello/runs", {"inputs": {"no": "such"}})
    member("PATCH", "/workers/hello", {"enabled": False})
    member("POST", "/workers/hello/runs", {"inputs": {}})
    found = [(entry["status"], entry["error_code"]) for entry in admin("GET", "/audit").json]
    assert found == [
        (409, "worker_disabled"),
        (200, None),
        (422, "validation_failed"),
        (404, "worker_not_found"),
        (403, "forbidden"),
    ]


def test_administrators_alone_read_it(member: Call) -> None:
    answer = member("GET", "/audit")
    assert (answer.status_code, answer.json["error_code"]) == (403, "forbidden")


def test_pages_follow_each_other(world: World, admin: Call) -> None:
    for number in range(5):
        world.clock.advance(milliseconds=1)
        admin("DELETE", f"/connections/secrets/KEY_{number}")
    names: list[str] = []
    target = "/audit?limit=2&user_id=local-user"
    while target:
        page = admin("GET", target)
        names += [entry["object"]["secret_name"] for entry in page.json]
        link = re.match(r'<(.*)>; rel="next"', page.headers.get("link", ""))
        target = link[1] if link else ""
    assert names == [f"KEY_{number}" for number in (4, 3, 2, 1, 0)]


def test_filters_by_user_and_time(world: World, admin: Call) -> None:
    times = []
    for number in range(3):
        times.append(rfc3339(world.clock.advance(seconds=1)))
        admin("DELETE", f"/connections/secrets/KEY_{number}")

    def names(query: str) -> list[str]:
        return [entry["object"]["secret_name"] for entry in admin("GET", f"/audit?{query}").json]

    assert names("user_id=local-user") == ["KEY_2", "KEY_1", "KEY_0"]
    assert names("user_id=somebody") == []
    assert names(f"since={times[1]}") == ["KEY_2", "KEY_1"]
    assert names(f"until={times[1]}") == ["KEY_0"]
    assert names(f"since={times[1]}&until={times[2]}&user_id=local-user") == ["KEY_1"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "cursor=x", "since=yesterday", "until=2026-01-01", "route=/runs", "user_id="],
)
def test_a_bad_query_is_refused(admin: Call, query: str) -> None:
    answer = admin("GET", f"/audit?{query}")
    assert (answer.status_code, answer.json["error_code"]) == (422, "validation_failed")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_at_the_end_of_the_calendar_is_a_time(admin: Call, time: str) -> None:
    admin("DELETE", "/connections/secrets/API_KEY")
    assert admin("GET", f"/audit?since={time}&until={time}").json == []


def test_every_id_in_the_path_of_a_change_is_on_record() -> None:
    """A new kind of id needs its form in `path_ids`, or a reason here."""
    names = {
        name
        for route in all_routes(Inert())  # type: ignore[arg-type]  # stands for any services
        if UNSAFE_METHODS & map_http_methods(route.resource, suffix=route.suffix).keys()
        if route.path not in RUN_TEMPLATES
        for name in re.findall(r"\{(\w+)", route.path)
    }
    assert names
    assert names - PATTERNS.keys() <= LEFT_OUT


def test_exports_are_limited(world: World, admin: Call) -> None:
    world.add_worker("hello")
    statuses = [admin("HEAD", "/workspace/export").status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    world.clock.advance(hours=1)
    assert admin("HEAD", "/workspace/export").status_code == 200
