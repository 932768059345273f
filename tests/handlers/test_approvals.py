"""Approvals over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from falcon import testing

from handlers import approvals, runs, workers
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.bootstrap import Services
from lib.storage.records import RunRecord, RunStatus
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.handlers.calling import Call, calling
from tests.lib.runs.world import World, open_world

ULID = "01m84zzzzzzzzzzzzzzzzzzzzz"
SECRET = "the secret of this server"
MANIFEST = """
title: Reply
exec:
  inputs: [{name: who, type: text}]
  outputs: [{name: text, type: text, required: true}]
approvals: {required: true, label: Send the reply}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def caller(world: World, *, secret: str | None = None, services: Services | None = None) -> Call:
    services = services or world.services()
    app = create_app(
        [route for group in (runs, approvals, workers) for route in group.routes(services)],
        authenticator=Authenticator(secret=secret, shared_secret_role=Role.MEMBER),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )

    return calling(app)


@pytest.fixture
def call(world: World) -> Call:
    return caller(world)


def proposed(world: World, manifest: str = MANIFEST) -> RunRecord:
    manifest = manifest.replace("title: Reply\n", "")
    worker_id = world.add_worker("gated", manifest)
    world.sandbox.script = lambda live: live.finish(
        {"status": "success", "outputs": {"text": "Dear Ada"}}
    )
    run = world.executed(worker_id, who="Ada")
    assert run.status is RunStatus.PENDING_APPROVAL
    return run


def code(answer: testing.Result) -> tuple[int, str]:
    return answer.status_code, answer.json["error_code"]


def test_one_that_waits_is_listed_counted_and_shown(world: World, call: Call) -> None:
    run = proposed(world)

    (listed,) = call("GET", "/approvals").json
    approval_id = listed["id"]
    assert listed == {
        "id": approval_id,
        "run_id": run.id,
        "worker_id": "gated",
        "worker_title": "Gated",
        "status": "pending",
        "label": "Send the reply",
        "preview": '{"text":"Dear Ada"}',
        "preview_type": "json",
        "proposal_sha256": listed["proposal_sha256"],
        "votes": [],
        "required": 1,
        "requested_at": "2026-01-01T00:00:00.001Z",
        "expires_at": "2026-01-04T00:00:00.001Z",
        "decided_at": None,
        "decided_by": None,
        "decided_from": None,
        "reason": None,
        "follow_up_run_id": None,
        "review_url": None,
    }
    assert call("GET", "/approvals/count").json == {"pending": 1}
    shown = call("GET", f"/approvals/{approval_id}").json
    assert shown == {**listed, "proposal": {"text": "Dear Ada"}, "links": []}
    assert call("GET", f"/runs/{run.id}").json["approvals"] == [listed]


def test_an_approval_with_an_edit(world: World, call: Call) -> None:
    run = proposed(world)
    body = {"edited_output": {"text": "Dear Bob"}, "reason": "Her name is Bob"}
    answer = call("POST", f"/runs/{run.id}/approve", body)
    follow_up = answer.json["follow_up_run_id"]
    assert answer.json == {"status": "approved", "run_id": run.id, "follow_up_run_id": follow_up}
    inputs = call("GET", f"/runs/{follow_up}").json["inputs"]
    assert inputs["approved_output"] == {"text": "Dear Bob"}
    (decided,) = call("GET", "/approvals?status=approved").json
    assert (decided["decided_by"], decided["decided_from"]) == ("local-user", "192.0.2.1")
    (cast,) = decided["votes"]
    assert (cast["by"], cast["method"], cast["edited"], cast["counts"]) == (
        "local-user", "local", True, True,
    )  # fmt: skip
    assert call("GET", "/approvals").json == []
    assert call("GET", "/approvals/count").json == {"pending": 0}


def test_a_reject_with_another_try(world: World, call: Call) -> None:
    run = proposed(world)
    answer = call("POST", f"/runs/{run.id}/reject", {"reason": "No", "retry": True})
    retry = answer.json["retry_run_id"]
    assert answer.json == {"status": "rejected", "run_id": run.id, "retry_run_id": retry}
    assert call("GET", f"/runs/{run.id}").json["error"]["code"] == "approval_rejected"
    inputs = call("GET", f"/runs/{retry}").json["inputs"]
    assert inputs["review_feedback"] == {"decision": "rejected", "reason": "No"}


def test_a_vote_of_several(world: World, call: Call) -> None:
    run = proposed(
        world, MANIFEST.replace("required: true, l", "required_approvals: 2, required: true, l")
    )
    assert code(call("POST", f"/runs/{run.id}/approve")) == (422, "validation_failed")
    (listed,) = call("GET", "/approvals").json
    body = {"proposal_sha256": listed["proposal_sha256"]}
    answer = call("POST", f"/runs/{run.id}/approve", body)
    assert answer.json == {
        "status": "pending", "run_id": run.id, "votes": {"given": 1, "required": 2},
    }  # fmt: skip
    assert code(call("POST", f"/runs/{run.id}/approve", body)) == (409, "approval_conflict")
    stale = {"proposal_sha256": "0" * 64}
    assert code(call("POST", f"/runs/{run.id}/approve", stale)) == (409, "approval_changed")


@pytest.mark.parametrize(
    "forged",
    [
        {"decision": "approved"},
        {"approved_output": {"text": "Pay me"}},
        {"phase": "execute"},
        {"follow_up_run_id": f"run_{ULID}"},
        {"review_feedback": {"decision": "rejected"}},
        {"voter": "usr_1"},
    ],
)
def test_what_the_engine_stamps_is_taken_from_nobody(
    world: World, call: Call, forged: dict[str, Any]
) -> None:
    run = proposed(world)
    for action in ("approve", "reject"):
        assert code(call("POST", f"/runs/{run.id}/{action}", forged)) == (422, "validation_failed")
    for body in ({"inputs": forged}, {"inputs": {}, **forged}):
        refused = call("POST", "/workers/gated/runs", body)
        assert code(refused) == (422, "validation_failed")
    assert call("POST", f"/runs/{run.id}/replay", forged).status_code == 422
    phases = {each["phase"] for each in call("GET", "/runs").json}
    assert phases == {"propose"}
    assert world.status(run) is RunStatus.PENDING_APPROVAL


def test_saved_inputs_cannot_hold_a_decision_either(world: World, call: Call) -> None:
    proposed(world)
    answer = call("PATCH", "/workers/gated", {"saved_inputs": {"decision": "approved"}})
    assert code(answer) == (422, "validation_failed")


def test_a_run_that_executed_is_replayed_as_one_that_proposes(world: World, call: Call) -> None:
    run = proposed(world)
    follow_up = call("POST", f"/runs/{run.id}/approve").json["follow_up_run_id"]
    replayed = call("POST", f"/runs/{follow_up}/replay").json
    assert (replayed["phase"], replayed["inputs"]) == (
        "propose",
        {"who": "Ada", "decision": "proposed"},
    )


def test_a_repetition_with_a_key_is_answered_as_the_first(world: World, call: Call) -> None:
    run = proposed(world)
    path = f"/runs/{run.id}/approve"
    first = call("POST", path, {"reason": "ok"}, idempotency_key="k")
    again = call("POST", path, {"reason": "ok"}, idempotency_key="k")
    assert first.json == again.json
    assert again.headers["idempotent-replayed"] == "true"
    assert code(call("POST", path, {"reason": "no"}, idempotency_key="k")) == (
        422, "idempotency_key_reused",
    )  # fmt: skip
    assert code(call("POST", path, {"reason": "ok"})) == (409, "approval_conflict")


def test_what_is_not_there(world: World, call: Call) -> None:
    for action in ("approve", "reject"):
        assert code(call("POST", f"/runs/run_{ULID}/{action}")) == (404, "run_not_found")
        assert code(call("POST", f"/runs/x/{action}")) == (400, "malformed_request")
    assert code(call("GET", f"/approvals/apr_{ULID}")) == (404, "approval_not_found")
    assert code(call("POST", f"/approvals/apr_{ULID}/links", {})) == (404, "approval_not_found")
    world.add_worker("open")
    run = world.start("open")
    assert code(call("POST", f"/runs/{run.id}/approve")) == (409, "approval_conflict")


def test_a_long_preview_is_whole_only_where_it_is_alone(world: World, call: Call) -> None:
    worker_id = world.add_worker("gated", MANIFEST.replace("title: Reply\n", ""))
    asks = {"preview": "x" * 30_000}
    world.sandbox.script = lambda live: live.finish(
        {"status": "success", "outputs": {"text": "a"}, "decision_required": asks}
    )
    run = world.executed(worker_id)
    (listed,) = call("GET", "/approvals").json
    assert listed["preview"] == "x" * 20_000 + "…"
    assert call("GET", f"/runs/{run.id}").json["approvals"] == [listed]
    assert call("GET", f"/approvals/{listed['id']}").json["preview"] == asks["preview"]


def test_pages_of_approvals(world: World, call: Call) -> None:
    made = [proposed(world).id for _ in range(3)]
    first = call("GET", "/approvals?limit=2&worker_id=gated")
    assert [each["run_id"] for each in first.json] == [made[2], made[1]]
    cursor = first.headers["x-next-cursor"]
    (last,) = call("GET", f"/approvals?limit=2&worker_id=gated&cursor={cursor}").json
    assert last["run_id"] == made[0]
    assert call("GET", "/approvals?worker_id=other").json == []
    assert call("GET", "/approvals?status=odd").status_code == 422


class TestLinks:
    def test_one_is_made_shown_once_and_revoked(self, world: World, call: Call) -> None:
        proposed(world)
        (listed,) = call("GET", "/approvals").json
        path = f"/approvals/{listed['id']}/links"
        made = call("POST", path, {"email": "Eve@Example.org"})
        assert made.status_code == 201
        assert made.json["email"] == "eve@example.org"
        assert made.json["expires_at"] == listed["expires_at"]
        assert made.json["url"].startswith("http://localhost:8000/approvals/public/rvw_")
        assert made.json["mailed"] is True
        (shown,) = call("GET", f"/approvals/{listed['id']}").json["links"]
        assert "url" not in shown
        link = f"{path}/{made.json['id']}"
        assert call("DELETE", link).status_code == 204
        assert call("DELETE", link).status_code == 204
        assert code(call("DELETE", f"{path}/lnk_{ULID}")) == (404, "review_link_not_found")
        (shown,) = call("GET", f"/approvals/{listed['id']}").json["links"]
        assert shown["revoked_at"] is not None

    @pytest.mark.parametrize("email", ["", "x", "a b@example.org", "a@example.org\nx", 7])
    def test_for_whom_it_is_must_be_an_address(
        self, world: World, call: Call, email: object
    ) -> None:
        proposed(world)
        (listed,) = call("GET", "/approvals").json
        answer = call("POST", f"/approvals/{listed['id']}/links", {"email": email})
        assert code(answer) == (422, "validation_failed")

    def test_a_member_cannot_make_one_for_nobody(self, world: World) -> None:
        proposed(world)
        member = caller(world, secret=SECRET)
        (listed,) = member("GET", "/approvals", x_floom_secret=SECRET).json
        answer = member("POST", f"/approvals/{listed['id']}/links", {}, x_floom_secret=SECRET)
        assert code(answer) == (403, "forbidden")


def test_a_list_outlives_a_run_that_retention_takes_from_under_it(world: World) -> None:
    kept, taken = proposed(world), proposed(world)
    store = world.approvals

    class Swept:
        def list(self, *args: Any, **options: Any) -> Any:
            page = store.list(*args, **options)
            world.lifecycle().cancel(taken.id)
            world.runs.delete([taken.id], before=world.clock.now() + timedelta(days=1))
            return page

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    services = replace(world.services(), approval_store=cast("Any", Swept()))
    answer = caller(world, services=services)("GET", "/approvals")
    assert answer.status_code == 200
    assert [row["run_id"] for row in answer.json] == [taken.id, kept.id]  # as it was when read
