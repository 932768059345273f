"""The server itself over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import system
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.metrics import MEDIA_TYPE
from lib.runs import state
from lib.storage.memory import MemoryRunStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunError, SandboxReport
from lib.storage.stored import Stored
from lib.version import VERSION
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.lib.runs.world import World, open_world

SECRET = "correct horse battery"
Call = Callable[..., Any]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        world.sandbox.holds = SandboxReport(*["held"] * 5)
        yield world


@pytest.fixture
def get(world: World) -> Call:
    def request(path: str, **headers: str) -> Any:
        app = create_app(
            system.routes(world.services()),
            authenticator=Authenticator(secret=SECRET, shared_secret_role=Role.MEMBER),
            clock=world.clock,
            public_url="http://localhost:8000",
            shutdown=Shutdown(),
        )
        return testing.simulate_get(app, path, host="localhost", headers=headers)

    return request


@pytest.fixture
def overview(get: Call) -> Callable[[], Any]:
    def read() -> Any:
        answer = get("/system/overview", **{"x-floom-secret": SECRET})
        assert answer.status_code == 200, answer.text
        return answer.json

    return read


def test_health_is_public_and_short(get: Call) -> None:
    answer = get("/healthz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "version": VERSION,
        "checks": {"store": "ok"},
        "details": {},
    }


class BrokenStore(MemoryRunStore):
    """Cannot be written."""

    def check(self) -> None:
        raise StoreUnavailable("disk full at /secret/place")


def test_health_says_so_when_the_store_cannot_be_written(world: World, get: Call) -> None:
    world.runs = BrokenStore()
    answer = get("/healthz")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unavailable",
        "version": VERSION,
        "checks": {"store": "failed"},
        "details": {"store": "store_unavailable"},
    }


def test_the_overview_is_not_public(get: Call) -> None:
    assert get("/system/overview").status_code == 401


def test_an_empty_workspace(overview: Callable[[], Any]) -> None:
    assert overview() == {
        "stats": {
            "runs_24h": 0,
            "runs_by_hour": [0] * 24,
            "success_rate_7d": None,
            "running": 0,
            "queued": 0,
            "pending_approvals": 0,
            "active_workers": 0,
            "connections_healthy": 0,
            "connections_total": 0,
            "next_fire_at": None,
        },
        "recent_runs": [],
        "scheduled_next_24h": [],
        "needs_attention": [],
        "git_remote": None,
        "bundle_sync": None,
        "generated_at": "2026-01-01T00:00:00.000Z",
    }


def test_figures_of_runs_and_schedules(world: World, overview: Callable[[], Any]) -> None:
    world.add_worker("daily", 'trigger: {type: schedule, cron: "0 9 * * *"}\n')
    world.add_worker("needy", "exec: {secrets: [KEY]}\n")
    for fails in (True, False, False):
        run = world.claimed("daily")
        ended: state.Event = state.Completed(run.fence, Stored(2, text="{}"))
        if fails:
            ended = state.Failed(run.fence, RunError("timeout", "slow"))
        world.settle(run, ended)
    newest = world.start("daily")

    shown = overview()
    stats = shown["stats"]
    assert (stats["runs_24h"], stats["runs_by_hour"][-1], stats["queued"]) == (4, 4, 1)
    assert stats["success_rate_7d"] == 0.6667
    assert stats["active_workers"] == 1
    assert stats["next_fire_at"] == "2026-01-01T09:00:00.000Z"
    assert shown["recent_runs"][0]["id"] == newest.id
    assert shown["scheduled_next_24h"] == [
        {
            "worker_id": "daily",
            "title": "Daily",
            "cron": "0 9 * * *",
            "timezone": "UTC",
            "fires_at": "2026-01-01T09:00:00.000Z",
        }
    ]
    assert shown["needs_attention"] == [
        {
            "kind": "missing_secret",
            "message": "needy needs secrets: KEY.",
            "action_url": "/workers/needy",
            "worker_id": "needy",
        }
    ]


def test_the_probe_says_what_holds_and_what_was_refused(get: Call, world: World) -> None:
    world.sandbox.holds = SandboxReport("Landlock", "seccomp", "none", "uid", "rlimits")
    answer = get("/system/sandbox", **{"x-floom-secret": SECRET})
    assert answer.status_code == 200
    assert answer.json == {
        "mode": "best_effort",
        "whole": False,
        "properties": {
            "files": "Landlock",
            "network": "seccomp",
            "processes": "none",
            "privileges": "uid",
            "limits": "rlimits",
        },
        "mechanisms": [
            {"name": "fake", "works": True, "reason": None},
            {"name": "missing", "works": False, "reason": "ENOSYS: not there"},
        ],
    }


def test_metrics_are_for_administrators(world: World, get: Call) -> None:
    assert get("/metrics").status_code == 401
    assert get("/metrics", **{"x-floom-secret": SECRET}).status_code == 403


def test_metrics_are_text_for_prometheus(world: World) -> None:
    app = create_app(
        system.routes(world.services()),
        authenticator=Authenticator(secret=SECRET, shared_secret_role=Role.ADMIN),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )
    answer = testing.simulate_get(
        app, "/metrics", host="localhost", headers={"x-floom-secret": SECRET}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["cache-control"] == "no-store"
    assert 'floom_runs{status="queued"} 0.0' in answer.text
