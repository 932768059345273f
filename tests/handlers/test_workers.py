"""Workers over HTTP: real workspace, stores in memory, no processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from falcon import testing

from handlers import workers
from handlers.registry import all_routes
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.bootstrap import Services
from lib.ids import RESERVED_WORKER_IDS, is_worker_id
from lib.runs import state
from lib.storage.records import RunQuery, RunStatus, SandboxReport, WorkerSettings
from lib.storage.stored import Stored
from lib.web.app import create_app
from lib.web.inert import Inert
from lib.web.shutdown import Shutdown
from tests.lib.runs.samples import approval
from tests.lib.runs.world import World, open_world

INPUTS = "exec: {inputs: [{name: who, type: string, required: true}, {name: n, type: integer}]}\n"
Call = Callable[..., Any]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def call(world: World) -> Call:
    app = create_app(
        workers.routes(world.services()),
        authenticator=Authenticator(secret=None, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )
    return lambda method, path, **given: testing.simulate_request(
        app, method, path, host="localhost", **given
    )


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json]


def runs_of(world: World) -> int:
    return len(world.runs.list(RunQuery(), limit=200).rows)


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json["error_code"]


def pointers(answer: Any) -> list[str]:
    return [error["pointer"] for error in answer.json["errors"]]


@pytest.fixture
def three(world: World) -> World:
    world.write_worker("alpha", "tags: [mail]\n")
    world.write_worker("beta", 'trigger: {type: schedule, cron: "0 9 * * *"}\n')
    world.write_worker("gamma", "archived: true\n")
    world.write_worker("zeta", "limits: {memory_mb: lots}\n")
    world.reload()
    return world


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["alpha", "beta", "zeta"]),
        ({"include_archived": "true"}, ["alpha", "beta", "gamma", "zeta"]),
        ({"status": "archived"}, ["gamma"]),
        ({"status": "error"}, ["zeta"]),
        ({"status": "healthy"}, []),
        ({"tag": "mail"}, ["alpha"]),
        ({"trigger_type": "schedule"}, ["beta"]),
        ({"trigger_type": "manual"}, ["alpha", "zeta"]),
        ({"q": "ALPH"}, ["alpha"]),
        ({"q": "mail"}, ["alpha"]),
        ({"q": "worker of a test", "tag": "mail"}, ["alpha"]),
        ({"q": "nobody"}, []),
    ],
)
def test_workers_are_listed_by_id_and_filtered(
    three: World, call: Call, query: dict[str, str], expected: list[str]
) -> None:
    assert ids(call("GET", "/workers", params=query)) == expected


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_follow_each_other_to_the_end(three: World, call: Call, limit: int) -> None:
    seen: list[str] = []
    params = {"limit": str(limit)}
    while True:
        answer = call("GET", "/workers", params=params)
        seen += ids(answer)
        if "x-next-cursor" not in answer.headers:
            break
        params["cursor"] = answer.headers["x-next-cursor"]
    assert seen == ["alpha", "beta", "zeta"]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"status": "fine"}, {"cursor": "x"}, {"qq": "x"}]
)
def test_a_bad_query_is_refused_with_its_name(
    three: World, call: Call, query: dict[str, str]
) -> None:
    answer = call("GET", "/workers", params=query)
    assert problem(answer) == (422, "validation_failed")
    assert pointers(answer) == [f"query:{next(iter(query))}"]


def test_a_summary_says_all_that_the_contract_lists(world: World, call: Call) -> None:
    world.add_worker(
        "plain",
        "tags: [a]\nfolder: demo\napprovals: {required: true}\nconnections: [gmail]\n"
        'triggers: [{type: schedule, cron: "0 9 * * *", timezone: Asia/Tokyo}]\n'
        "exec: {secrets: [KEY], inputs: [{name: who, type: string, required: true}]}\n",
    )
    (row,) = call("GET", "/workers").json
    entry = world.catalogue.get("plain")
    assert row == {
        "id": "plain",
        "title": "Plain",
        "description": "A worker of a test.",
        "version": "1.0.0",
        "mode": "script",
        "runtime": "python",
        "status": "missing_secret",
        "trigger_type": "schedule",
        "triggers": [
            {
                "type": "schedule",
                "label": None,
                "cron": "0 9 * * *",
                "timezone": "Asia/Tokyo",
                "next_fire_at": None,
            }
        ],
        "tags": ["a"],
        "folder": "demo",
        "visibility": "workspace",
        "archived": False,
        "enabled": True,
        "requires_approval": True,
        "missing_secrets": ["KEY"],
        "missing_connections": ["gmail"],
        "missing_inputs": ["who"],
        "last_run": None,
        "stats": {"runs_7d": 0, "success_rate_7d": None},
        "updated_at": "2026-01-01T00:00:00.000Z",
        "sha": entry.worker.sha,
    }


@pytest.mark.parametrize(
    ("manifest", "status", "at"),
    [
        ("", "ready", "2026-01-02T00:00:00.000Z"),
        ("exec: {inputs: [{name: who, type: string, required: true}]}\n", "blocked", None),
        ("paused: true\n", "paused", None),
        ("archived: true\n", "archived", None),
    ],
)
def test_a_worker_that_is_not_fired_has_no_next_time(
    world: World, call: Call, manifest: str, status: str, at: str | None
) -> None:
    world.add_worker(
        "plain", 'trigger: {type: schedule, cron: "0 9 * * *", timezone: Asia/Tokyo}\n' + manifest
    )
    (row,) = call("GET", "/workers", params={"include_archived": "true"}).json
    assert (row["status"], row["triggers"][0]["next_fire_at"]) == (status, at)
    assert call("GET", "/workers/plain").json["triggers"] == row["triggers"]


def test_detail_adds_manifest_files_and_newest_runs(world: World, call: Call) -> None:
    folder = world.write_worker("plain", INPUTS, run_py="print('hi')\n")
    (folder / "logo.bin").write_bytes(b"\0\1")
    world.reload()
    runs = [world.start("plain", who=str(number)) for number in range(12)]
    done = world.claim(runs[-1])
    world.clock.advance(seconds=2)
    world.settle(done, state.Completed(done.fence, Stored(2, text="{}")))

    worker = call("GET", "/workers/plain").json

    assert [file["path"] for file in worker["files"]] == ["logo.bin", "run.py", "worker.yml"]
    assert [file["binary"] for file in worker["files"]] == [True, False, False]
    assert worker["files"][1]["size"] == 12
    assert [each["name"] for each in worker["inputs"]] == ["who", "n"]
    assert [run["id"] for run in worker["recent_runs"]] == [run.id for run in reversed(runs)][:10]
    assert worker["last_run"]["duration_ms"] == 2_000
    assert worker["stats"] == {"runs_7d": 12, "success_rate_7d": 1.0}
    assert (worker["saved_inputs"], worker["errors"], worker["webhook_url"]) == ({}, [], None)
    assert worker["capabilities"]["secrets"] == []
    assert worker["limits"]["timeout_seconds"] == 300


def test_a_broken_worker_is_shown_with_its_errors(world: World, call: Call) -> None:
    world.add_worker("partly", "limits: {memory_mb: lots}\n")
    world.add_worker("wholly", "exec: [\n")
    partly = call("GET", "/workers/partly").json
    assert partly["status"] == "error"
    (error,) = partly["errors"]
    assert error["path"] == "workers/partly/worker.yml"
    assert error["pointer"] == "/limits/memory_mb"
    assert error["line"] == 6
    wholly = call("GET", "/workers/wholly").json
    assert (wholly["status"], wholly["inputs"], wholly["limits"]) == ("error", [], None)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("reload", "reserved_worker_id", "No worker can be called reload"),
        ("import-from-share", "reserved_worker_id", "No worker can be called import-from-share"),
        ("Bad Name", "bad_worker_id", "The folder's name must be a slug"),
        ("a%2Fb?c#d", "bad_worker_id", "The folder's name must be a slug"),
    ],
)
def test_a_folder_that_no_path_leads_to_is_listed_with_the_reason(
    world: World, call: Call, name: str, code: str, reason: str
) -> None:
    world.write_worker("fine")
    world.write_worker(name)
    world.sandbox.holds = SandboxReport(*["held"] * 5)

    reloaded = call("POST", "/workers/reload").json

    (error,) = reloaded["errors"]
    assert (error["worker_id"], error["code"]) == (name, code)
    assert error["message"].startswith(reason)
    assert {row["id"]: row["status"] for row in call("GET", "/workers").json} == {
        name: "error",
        "fine": "ready",
    }
    (attention,) = world.overview().read().attention
    assert (attention.kind, attention.worker_id) == ("manifest_error", name)
    assert reason in attention.message
    assert ids(call("GET", attention.action_url)) == [name]


def test_every_word_below_workers_is_reserved() -> None:
    routes = all_routes(cast("Services", Inert()))
    words = {route.path.split("/")[2] for route in routes if route.path.startswith("/workers/")}
    assert {word for word in words if is_worker_id(word)} <= RESERVED_WORKER_IDS


def test_an_unknown_worker_is_404(world: World, call: Call) -> None:
    for method, path in [("GET", ""), ("PATCH", ""), ("POST", "/runs")]:
        answer = call(method, f"/workers/nobody{path}", json={})
        assert problem(answer) == (404, "worker_not_found")


def test_settings_are_merged_and_null_removes(world: World, call: Call) -> None:
    world.add_worker("plain", INPUTS)

    def patch(**body: Any) -> Any:
        return call("PATCH", "/workers/plain", json=body)

    assert patch(saved_inputs={"who": "Ada", "n": "3"}).json["saved_inputs"] == {
        "who": "Ada",
        "n": 3,
    }
    changed = patch(enabled=False).json
    assert (changed["enabled"], changed["status"]) == (False, "disabled")
    assert changed["saved_inputs"] == {"who": "Ada", "n": 3}
    changed = patch(enabled=True, saved_inputs={"who": None}).json
    assert (changed["enabled"], changed["saved_inputs"]) == (True, {"n": 3})
    assert world.settings.get("plain") == WorkerSettings(True, {"n": 3})


def test_refused_settings_change_nothing(world: World, call: Call) -> None:
    world.add_worker("plain", INPUTS)
    body = {"enabled": False, "saved_inputs": {"n": "many", "nope": 1}}
    answer = call("PATCH", "/workers/plain", json=body)
    assert problem(answer) == (422, "validation_failed")
    assert pointers(answer) == ["/saved_inputs/n", "/saved_inputs/nope"]
    assert call("PATCH", "/workers/plain", json={"title": "x"}).status_code == 422
    assert world.settings.get("plain") == WorkerSettings()


def test_a_started_run_is_queued_and_has_its_address(world: World, call: Call) -> None:
    world.add_worker("plain", INPUTS)
    answer = call("POST", "/workers/plain/runs", json={"inputs": {"who": "Zoë"}, "priority": 9})
    assert answer.status_code == 202
    run = answer.json
    assert answer.headers["location"] == f"/runs/{run['id']}"
    assert (run["status"], run["priority"], run["inputs"]) == ("queued", 9, {"who": "Zoë"})
    assert run["trigger"] == {"type": "manual", "ref": None, "by": "local-user"}
    assert world.status(world.runs.get(run["id"])) is RunStatus.QUEUED


def test_a_run_may_be_started_without_a_body(world: World, call: Call) -> None:
    world.add_worker("plain")
    assert call("POST", "/workers/plain/runs").status_code == 202


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"inputs": {}}, ["/inputs/who"]),
        ({"inputs": {"who": 3, "n": "x", "zz": 1}}, ["/inputs/zz", "/inputs/who", "/inputs/n"]),
        ({"inputs": {"who": "x", "decision": "approved"}}, ["/inputs/decision"]),
        ({"priority": 10}, ["/priority"]),
        ({"priority": "5"}, ["/priority"]),
        ({"inputs": []}, ["/inputs"]),
        ({"attempt": 2}, ["/attempt"]),
        ({"idempotency_key": "ü"}, ["/idempotency_key"]),
    ],
)
def test_a_refused_start_names_each_place_and_writes_nothing(
    world: World, call: Call, body: dict[str, Any], expected: list[str]
) -> None:
    world.add_worker("plain", INPUTS)
    answer = call("POST", "/workers/plain/runs", json=body)
    assert problem(answer) == (422, "validation_failed")
    assert sorted(pointers(answer)) == sorted(expected)
    assert runs_of(world) == 0


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("limits: {memory_mb: lots}\n", (409, "worker_broken")),
        ("archived: true\n", (409, "worker_disabled")),
        ("exec: {secrets: [KEY]}\n", (422, "missing_secret")),
        ("connections: [gmail]\n", (422, "missing_connection")),
        ("concurrency: {max: 1, on_limit: skip}\n", (409, "concurrency_conflict")),
    ],
)
def test_a_worker_that_cannot_run_says_why(
    world: World, call: Call, manifest: str, expected: tuple[int, str]
) -> None:
    world.add_worker("plain", manifest)
    if "skip" in manifest:
        world.start()
    before = runs_of(world)
    assert problem(call("POST", "/workers/plain/runs")) == expected
    assert runs_of(world) == before


def test_the_same_key_and_body_get_the_first_answer_again(world: World, call: Call) -> None:
    world.add_worker("plain", INPUTS)
    body = {"inputs": {"who": "Ada"}}
    in_header = {"headers": {"idempotency-key": "k 1"}, "json": body}
    first = call("POST", "/workers/plain/runs", **in_header)
    again = call("POST", "/v1/workers/plain/runs", **in_header)
    in_body = call("POST", "/workers/plain/runs", json={**body, "idempotency_key": "k 1"})

    assert "idempotent-replayed" not in first.headers
    for answer in (again, in_body):
        assert answer.status_code == 202
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.headers["location"] == first.headers["location"]
        assert answer.content == first.content
    assert runs_of(world) == 1


def test_the_first_answer_is_given_again_as_it_was(world: World, call: Call) -> None:
    world.add_worker("plain")
    headers = {"idempotency-key": "k"}
    first = call("POST", "/workers/plain/runs", headers=headers)
    run = world.claim(world.runs.get(first.json["id"]))
    world.settle(run, state.Completed(run.fence, Stored(2, text="{}")))
    assert call("POST", "/workers/plain/runs", headers=headers).content == first.content


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"json": {"inputs": {"who": "Eve"}}}, "idempotency_key_reused"),
        ({"json": {"inputs": {"who": "Ada"}, "priority": 5}}, "idempotency_key_reused"),
        ({"json": {"inputs": {"who": "Ada"}, "idempotency_key": "other"}}, "validation_failed"),
    ],
)
def test_a_key_is_good_for_one_body(
    world: World, call: Call, second: dict[str, Any], expected: str
) -> None:
    world.add_worker("plain", INPUTS)
    headers = {"idempotency-key": "k"}
    call("POST", "/workers/plain/runs", json={"inputs": {"who": "Ada"}}, headers=headers)
    answer = call("POST", "/workers/plain/runs", headers=headers, **second)
    assert problem(answer) == (422, expected)
    assert runs_of(world) == 1


def test_a_key_is_a_worker_s_own(world: World, call: Call) -> None:
    world.add_worker("a")
    world.add_worker("b")
    headers = {"idempotency-key": "k"}
    answers = [call("POST", f"/workers/{each}/runs", headers=headers) for each in "ab"]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert runs_of(world) == 2


def settle_when_queued(world: World, end: Callable[[World, str], None]) -> threading.Thread:
    """Settle the next run as soon as somebody has queued it."""

    def work() -> None:
        world.bell.wait(20)
        (summary,) = world.runs.list(RunQuery(), limit=1).rows
        end(world, summary.id)
        world.signals.notify(summary.id)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def complete(world: World, run_id: str) -> None:
    run = world.claim(world.runs.get(run_id))
    world.settle(run, state.Completed(run.fence, Stored(7, text='{"a":1}')))


def propose(world: World, run_id: str) -> None:
    run = world.claim(world.runs.get(run_id))
    asked = approval(run, world.clock.now())
    world.settle(run, state.Proposed(run.fence, asked, Stored(2, text="{}")))


@pytest.mark.parametrize(
    ("end", "status"), [(complete, "completed"), (propose, "pending_approval")]
)
def test_who_prefers_to_wait_gets_the_settled_run(
    world: World, call: Call, end: Callable[[World, str], None], status: str
) -> None:
    world.add_worker("plain", "approvals: {required: true}\n")
    thread = settle_when_queued(world, end)
    answer = call("POST", "/workers/plain/runs", headers={"prefer": "wait=20"})
    thread.join()
    assert answer.status_code == 200
    assert answer.json["status"] == status
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/runs/{answer.json['id']}"


def test_who_waits_in_vain_gets_the_run_as_it_is(world: World, call: Call) -> None:
    world.add_worker("plain")
    answer = call("POST", "/workers/plain/runs", headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=0"


def test_longer_waits_are_clamped(world: World, call: Call) -> None:
    world.add_worker("plain")
    thread = settle_when_queued(world, complete)
    answer = call("POST", "/workers/plain/runs", headers={"prefer": "wait=9999"})
    thread.join()
    assert answer.headers["preference-applied"] == "wait=25"


def test_who_repeats_and_waits_waits_for_the_first_run(world: World, call: Call) -> None:
    world.add_worker("plain")
    headers = {"idempotency-key": "k"}
    first = call("POST", "/workers/plain/runs", headers=headers)
    complete(world, first.json["id"])
    again = call("POST", "/workers/plain/runs", headers={**headers, "prefer": "wait=20"})
    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json["id"], again.json["status"]) == (first.json["id"], "completed")


def test_a_reload_takes_over_what_is_on_disk_and_hides_nobody(world: World, call: Call) -> None:
    world.add_worker("old")
    world.write_worker("good")
    world.write_worker("bad", "limits: {memory_mb: lots}\n")
    (world.root / "workspace" / "workers" / "old" / "worker.yml").unlink()
    (world.root / "workspace" / "workers" / "old" / "run.py").unlink()

    answer = call("POST", "/workers/reload", json={"force": True})

    assert answer.status_code == 200
    body = answer.json
    assert body["commit"] == world.workspace.tip()
    assert (body["changed"], body["removed"]) == (["bad", "good"], ["old"])
    assert body["workers_loaded"] == 1
    (error,) = body["errors"]
    assert (error["worker_id"], error["pointer"], error["line"]) == ("bad", "/limits/memory_mb", 6)
    assert error["path"] == "workers/bad/worker.yml"
    again = call("POST", "/workers/reload")
    assert (again.json["commit"], again.json["changed"]) == (None, [])


def test_a_reload_tells_what_is_odd_in_what_changed(world: World, call: Call) -> None:
    world.write_worker("odd", "limit: {timeout_seconds: 5}\n")
    (warning,) = call("POST", "/workers/reload").json["warnings"]
    assert warning.startswith("workers/odd/worker.yml line ")
    assert "limits" in warning
    assert call("POST", "/workers/reload").json["warnings"] == []


def test_a_reload_that_would_delete_most_workers_is_refused(world: World, call: Call) -> None:
    for name in ("a", "b", "c"):
        world.write_worker(name)
    world.reload()
    for name in ("a", "b"):
        for file in (world.root / "workspace" / "workers" / name).iterdir():
            file.unlink()
    assert problem(call("POST", "/workers/reload")) == (409, "workspace_conflict")
    assert len(world.catalogue.list()) == 3


def test_a_body_that_is_no_json_is_malformed(world: World, call: Call) -> None:
    world.add_worker("plain")
    headers = {"content-type": "application/json"}
    answer = call("POST", "/workers/plain/runs", body="{", headers=headers)
    assert problem(answer) == (400, "malformed_request")
    answer = call(
        "POST", "/workers/plain/runs", body=json.dumps({}), headers={"content-type": "text/plain"}
    )
    assert problem(answer) == (415, "unsupported_media_type")
