"""A run writes into its own log, over HTTP, with its token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers.registry import all_routes
from lib.auth.authenticator import Authenticator
from lib.auth.credentials import RUN_TOKEN_PREFIX
from lib.auth.principal import Role
from lib.auth.run_token import RunTokens, mint
from lib.runs import state
from lib.runs.executor import Executor
from lib.storage.records import RunStatus, SandboxReport
from lib.web import access
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.handlers.test_access import METHODS, path_of
from tests.lib.runs.fake_sandbox import GOOD, FakeRun, stay
from tests.lib.runs.world import World, open_world

Call = Callable[..., Any]
SECRET = "correct horse battery"
LINE = {"level": "warning", "message": "3 of 40 rows have no address"}


class Place:
    """A server with one run that is running."""

    def __init__(self, world: World, executor: Executor) -> None:
        self.world = world
        world.add_worker()
        world.sandbox.script = stay
        self.run = world.start()
        self.live: FakeRun = world.sandbox.next_start()
        self.token = self.live.launch.environment["FLOOM_RUN_TOKEN"]
        self.path = f"/runs/{self.run.id}/logs"
        self.routes = all_routes(world.services(executor))
        self._app = create_app(
            self.routes,
            authenticator=Authenticator(
                secret=SECRET,
                shared_secret_role=Role.ADMIN,
                bearers={RUN_TOKEN_PREFIX: RunTokens(world.runs).check},
            ),
            clock=world.clock,
            public_url="http://localhost:8000",
            shutdown=Shutdown(),
        )

    def call(self, method: str, path: str, token: str | None = None, **given: Any) -> Any:
        headers = {"authorization": f"Bearer {token or self.token}"}
        return testing.simulate_request(
            self._app, method, path, host="localhost", headers=headers, **given
        )

    def write(self, line: Any = LINE, token: str | None = None) -> Any:
        return self.call("POST", self.path, token, json=line)

    def end(self) -> None:
        self.live.finish(GOOD)
        self.world.until(self.run, RunStatus.COMPLETED)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with open_world(tmp_path) as world:
        executor = world.executor(max_runs=1)
        executor.start()
        try:
            place = Place(world, executor)
            yield place
            place.live.finish(GOOD)  # a run that goes on is looked at once a second
        finally:
            executor.stop(grace_seconds=0)


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json["error_code"]


def test_a_line_is_handed_to_who_numbers_the_lines(place: Place) -> None:
    answer = place.write()

    assert (answer.status_code, answer.text) == (204, "")
    assert place.write({"level": "debug", "message": "é\nx"}).status_code == 204
    assert place.live.notes == [("warning", LINE["message"]), ("debug", "é\nx")]


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ({"level": "fatal", "message": "x"}, "/level"),
        ({"message": "x"}, "/level"),
        ({"level": "info"}, "/message"),
        ({"level": "info", "message": ""}, "/message"),
        ({"level": "info", "message": 1}, "/message"),
        ({"level": "info", "message": "x" * 16_385}, "/message"),
        ({"level": "info", "message": "é" * 8_193}, "/message"),
        ({"level": "info", "message": "x", "seq": 1}, "/seq"),
    ],
)
def test_a_line_that_is_none_is_refused(place: Place, line: Any, pointer: str) -> None:
    answer = place.write(line)

    assert problem(answer) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert place.live.notes == []


def test_a_line_of_just_the_size_is_taken(place: Place) -> None:
    assert place.write({"level": "info", "message": "é" * 8_192}).status_code == 204


def test_half_a_character_is_refused(place: Place) -> None:
    body = b'{"level": "info", "message": "\\ud800"}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {place.token}"}
    answer = testing.simulate_post(
        place._app, place.path, host="localhost", headers=headers, body=body
    )

    assert problem(answer) == (400, "malformed_request")


def test_a_run_that_has_ended_writes_no_more(place: Place) -> None:
    place.end()

    assert problem(place.write()) == (401, "unauthenticated")


def test_a_run_that_executes_elsewhere_is_a_conflict(place: Place) -> None:
    run, world = place.world.start(), place.world
    token = mint(run.id)
    until = world.clock.now() + timedelta(seconds=30)
    world.settle(run, state.Started("other", until, "local", SandboxReport(), token.sha256))

    answer = place.call("POST", f"/runs/{run.id}/logs", token.value, json=LINE)

    assert problem(answer) == (409, "run_state_conflict")


def test_nobody_else_writes_into_a_log(place: Place) -> None:
    for headers in ({"x-floom-secret": SECRET}, {}):
        answer = testing.simulate_post(
            place._app, place.path, host="localhost", headers=headers, json=LINE
        )
        assert answer.status_code == (403 if headers else 401)
    assert place.live.notes == []


def test_a_running_runs_token_opens_its_own_routes_and_nothing_else(place: Place) -> None:
    other = place.world.start()
    for route in place.routes:
        path = path_of(route)
        for method in METHODS:
            own = (method, route.path) in access.RUN_ROUTES
            if access.is_public(method, route.path) or own:
                continue
            answer = place.call(method, path)
            assert answer.status_code == 403, (method, path)
    for path in (f"/runs/{other.id}/logs", "/nowhere"):
        assert problem(place.call("POST", path, json=LINE)) == (403, "forbidden")
    assert place.write().status_code == 204
