"""Review links over HTTP: JSON for programs, pages for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from handlers import approvals, reviews
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.runs.approvals.voters import Voter
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.audit_records import AuditQuery
from lib.storage.records import RunQuery
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.handlers.calling import Call, calling
from tests.lib.runs.world import World, open_world

SECRET_VALUE = "hunter2-hunter2"
OUTPUTS = """
exec:
  secrets: [KEY]
  outputs:
    - {name: text, type: textarea, required: true, bounds: {max_length: 40}}
    - {name: count, type: integer}
    - {name: key, type: string}
    - {name: report, kind: file, path: out/report.txt}
"""
HTML = {"accept": "text/html,*/*"}
ADMIN = Voter(id="usr_root", method="session", is_admin=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        world.secrets.put("KEY", SECRET_VALUE, at=world.clock.now())
        yield world


@pytest.fixture
def call(world: World) -> Call:
    services = world.services()
    app = create_app(
        [*approvals.routes(services), *reviews.routes(services)],
        authenticator=Authenticator(
            secret="the secret of this server", shared_secret_role=Role.MEMBER
        ),
        clock=world.clock,
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
        audit=world.audit,
    )

    return calling(app)


def proposed(world: World, policy: str = "required: true, label: Send it?") -> Approval:
    worker_id = world.add_worker("gated", f"{OUTPUTS}approvals: {{{policy}}}\n")

    def propose(live: Any) -> None:
        (live.work / "out").mkdir(exist_ok=True)
        (live.work / "out" / "report.txt").write_text("all")
        outputs = {"text": "Dear Ada", "count": 3, "key": SECRET_VALUE}
        live.finish({"status": "success", "outputs": outputs})

    world.sandbox.script = propose
    run = world.executed(worker_id)
    (approval,) = world.approvals.list_of_run(run.id)
    return approval


def link(world: World, approval: Approval, email: str | None = "eve@example.org") -> str:
    made = world.review_links.make(approval.id, email=email, maker=ADMIN, can_mail=False)
    return f"/approvals/public/{made.token}"


def follow_up_inputs(world: World, approval: Approval) -> dict[str, Any]:
    decided = world.approvals.get(approval.id)
    assert decided.follow_up_run_id is not None
    found: dict[str, Any] = world.inputs_of(world.runs.get(decided.follow_up_run_id))
    executed: dict[str, Any] = found["approved_output"]
    return executed


class TestPrograms:
    def test_they_see_the_proposal_and_nothing_else(self, world: World, call: Call) -> None:
        approval = proposed(world)
        answer = call("GET", link(world, approval))
        assert answer.json == {
            "label": "Send it?",
            "preview": answer.json["preview"],
            "preview_type": "json",
            "proposed_outputs": {
                "text": "Dear Ada",
                "count": 3,
                "key": "***",
                "report": {"name": "report.txt", "media_type": "text/plain", "size": 3},
            },
            "proposal_sha256": approval.proposal_sha256,
            "expires_at": answer.json["expires_at"],
            "given": 0,
            "required": 1,
        }
        for hidden in (SECRET_VALUE, approval.run_id, "usr_", "workers", "hunter"):
            assert (
                hidden not in answer.text.replace(approval.run_id, "") or hidden == approval.run_id
            )
        assert answer.headers["cache-control"] == "no-store"

    def test_they_vote_once_with_an_edit(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        shown = call("GET", path).json
        edited = {**shown["proposed_outputs"], "text": "Dear Bob"}
        body = {
            "proposal_sha256": shown["proposal_sha256"],
            "edited_output": edited,
            "reason": "Name",
        }
        answer = call("POST", f"{path}/approve", body)
        assert answer.json["status"] == "approved"
        executed = follow_up_inputs(world, approval)
        assert executed["text"] == "Dear Bob"
        assert executed["key"] == SECRET_VALUE, "what was hidden stays what it is"
        assert executed["report"]["sha256"]
        (vote,) = world.approvals.get(approval.id).votes
        assert (vote.voter, vote.reason, vote.address) == ("eve@example.org", "Name", "192.0.2.1")
        again = call("POST", f"{path}/approve", body)
        assert (again.status_code, again.json["error_code"]) == (404, "approval_not_found")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"proposal_sha256": "x"},
            {"proposal_sha256": "0" * 64, "retry": True},
            {"proposal_sha256": "0" * 64, "decision": "approved"},
            {"proposal_sha256": "0" * 64, "approved_output": {}},
        ],
    )
    def test_they_cannot_say_more_than_a_vote(self, world: World, call: Call, body: Any) -> None:
        path = link(world, proposed(world))
        for action in ("approve", "reject"):
            assert call("POST", f"{path}/{action}", body).status_code == 422

    def test_a_vote_on_an_edited_proposal(self, world: World, call: Call) -> None:
        path = link(world, proposed(world))
        answer = call("POST", f"{path}/reject", {"proposal_sha256": "0" * 64})
        assert (answer.status_code, answer.json["error_code"]) == (409, "approval_changed")

    def test_a_reject(self, world: World, call: Call) -> None:
        approval = proposed(world)
        body = {"proposal_sha256": approval.proposal_sha256, "reason": "No"}
        answer = call("POST", f"{link(world, approval)}/reject", body)
        assert answer.json == {
            "status": "rejected",
            "run_id": approval.run_id,
            "retry_run_id": None,
        }


class TestPeople:
    def page(self, call: Call, path: str) -> testing.Result:
        page = call("GET", path, **HTML)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script" not in page.headers["content-security-policy"]
        return page

    def test_the_page_shows_no_more_than_the_json(self, world: World, call: Call) -> None:
        approval = proposed(world)
        page = self.page(call, link(world, approval))
        for shown in ("Send it?", "Dear Ada", "report.txt", "eve@example.org", "***"):
            assert shown in page.text
        for hidden in (SECRET_VALUE, approval.run_id, approval.id, "Gated", "out/report", "ada<"):
            assert hidden not in page.text.replace(approval.id.removeprefix("apr_"), "")

    def test_an_unedited_form_approves_what_was_proposed(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        sha256 = approval.proposal_sha256
        page = call("POST", f"{path}/approve", form={"proposal_sha256": sha256}, **HTML)
        assert page.status_code == 200
        decided = world.approvals.get(approval.id)
        assert decided.status is ApprovalStatus.APPROVED
        assert decided.proposal_sha256 == sha256
        assert follow_up_inputs(world, approval)["key"] == SECRET_VALUE

    def test_an_edited_form(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        form = {
            "proposal_sha256": approval.proposal_sha256,
            "output-0": "Dear Bob",
            "output-1": "4",
        }
        assert call("POST", f"{path}/approve", form=form, **HTML).status_code == 200
        executed = follow_up_inputs(world, approval)
        assert (executed["text"], executed["count"], executed["key"]) == (
            "Dear Bob", 4, SECRET_VALUE,
        )  # fmt: skip

    def test_what_the_worker_does_not_take_is_said_beside_the_field(
        self, world: World, call: Call
    ) -> None:
        approval = proposed(world)
        path = link(world, approval)
        long = "x" * 41
        form = {"proposal_sha256": approval.proposal_sha256, "output-0": long}
        page = call("POST", f"{path}/approve", form=form, **HTML)
        assert page.status_code == 422
        assert "must have at most 40 characters" in page.text
        assert long in page.text
        assert world.approvals.get(approval.id).is_pending

    def test_a_form_of_before_an_edit(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        for action in ("approve", "reject"):
            page = call("POST", f"{path}/{action}", form={"proposal_sha256": "0" * 64}, **HTML)
            assert page.status_code == 409
            assert "has changed" in page.text
        assert world.approvals.get(approval.id).is_pending

    def test_a_reject_with_a_reason(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        form = {"proposal_sha256": approval.proposal_sha256, "reason": "Too\r\nblunt"}
        assert call("POST", f"{path}/reject", form=form, **HTML).status_code == 200
        assert world.approvals.get(approval.id).reason == "Too\nblunt"

    def test_a_vote_of_several(self, world: World, call: Call) -> None:
        approval = proposed(world, "required: true, required_approvals: 2")
        path = link(world, approval)
        form = {"proposal_sha256": approval.proposal_sha256}
        page = call("POST", f"{path}/approve", form=form, **HTML)
        assert "1 of 2" in page.text
        assert call("GET", path, **HTML).status_code == 404

    def test_a_worker_that_cannot_run_now(self, world: World, call: Call) -> None:
        approval = proposed(world)
        path = link(world, approval)
        world.settings.change("gated", lambda each: replace(each, enabled=False))
        form = {"proposal_sha256": approval.proposal_sha256, "output-0": "Typed"}
        page = call("POST", f"{path}/approve", form=form, **HTML)
        assert page.status_code == 409
        assert "cannot act on this now" in page.text
        assert "Typed" in page.text

    @pytest.mark.parametrize(
        "form", [{"output-0": "x"}, {"proposal_sha256": "a", "decision": "approved"}]
    )
    def test_a_form_that_is_not_the_pages(self, world: World, call: Call, form: Any) -> None:
        path = link(world, proposed(world))
        answer = call("POST", f"{path}/approve", form=form, **HTML)
        assert answer.status_code in {400, 409}
        assert len(world.runs.list(RunQuery(), limit=9).rows) == 1


def test_whatever_is_not_open_is_told_alike(world: World, call: Call) -> None:
    approval = proposed(world)
    used, revoked, other = (link(world, approval, f"{n}@example.org") for n in "abc")
    world.review_links.revoke(
        approval.id, world.approvals.get(approval.id).links[1].id, maker=ADMIN
    )
    call("POST", f"{used}/approve", {"proposal_sha256": approval.proposal_sha256})
    answers = set()
    pages = set()
    for path in (used, revoked, other, used[:-1], "/approvals/public/x"):
        answer = call("GET", path)
        answers.add((answer.status_code, answer.json["detail"], answer.json["error_code"]))
        page = call("GET", path, **HTML)
        pages.add((page.status_code, page.text))
        for action in ("approve", "reject"):
            answer = call("POST", f"{path}/{action}", {"proposal_sha256": "0" * 64})
            answers.add((answer.status_code, answer.json["detail"], answer.json["error_code"]))
            page = call("POST", f"{path}/{action}", form={"proposal_sha256": "0" * 64}, **HTML)
            pages.add((page.status_code, page.text))
    assert len(answers) == 1
    assert len(pages) == 1


def test_a_link_is_mailed_to_its_reader(world: World, call: Call) -> None:
    approval = proposed(world)
    secret = {"x_floom_secret": "the secret of this server"}
    made = call("POST", f"/approvals/{approval.id}/links", {"email": "eve@example.org"}, **secret)
    assert made.json["mailed"] is True
    (mail,) = world.outbox.sent
    assert mail.to == "eve@example.org"
    assert made.json["url"] in mail.text
    for hidden in ("Dear Ada", SECRET_VALUE):
        assert hidden not in mail.text


def test_a_head_shows_nothing_and_uses_nothing_up(world: World, call: Call) -> None:
    path = link(world, proposed(world))
    assert call("HEAD", path).status_code == 200
    assert call("HEAD", f"{path}/approve").status_code == 401
    assert call("GET", path).status_code == 200


def test_votes_are_on_record_as_their_readers(world: World, call: Call) -> None:
    approval = proposed(world)
    path = link(world, approval)
    call("GET", path)
    call("POST", f"{path}/approve", {"proposal_sha256": "0" * 64})
    call("POST", f"{path}/approve", form={"proposal_sha256": approval.proposal_sha256}, **HTML)
    call("POST", f"{path}/approve", {"proposal_sha256": "0" * 64})
    entries = world.audit.list(AuditQuery(), limit=9).rows
    assert [(each.user_id, each.method, each.status) for each in entries] == [
        ("eve@example.org", "review_link", 200),
        ("eve@example.org", "review_link", 409),
    ]
    assert {each.route for each in entries} == {"/approvals/public/{token}/approve"}
    assert path.rpartition("/")[2] not in repr(entries)


@pytest.mark.parametrize(
    "text", ["[" * 260 + "]" * 260, "[" * 900 + "]" * 900, r'"\ud800"', "1e999"]
)
def test_json_that_could_not_be_shown_again_is_refused_on_the_page(world, call, text):
    worker_id = world.add_worker("gated", f"{OUTPUTS}approvals: {{required: true}}\n")
    result = {"preview_payload": {"text": "Hi", "more": {"a": 1}}}
    world.sandbox.script = lambda live: live.finish(
        {"status": "success", "outputs": {}, "decision_required": result}
    )
    (approval,) = world.approvals.list_of_run(world.executed(worker_id).id)
    path = link(world, approval)
    form = {"proposal_sha256": approval.proposal_sha256, "output-1": text}
    answer = call("POST", f"{path}/approve", form=form)
    assert answer.status_code == 422
    assert "This is not valid JSON" in answer.text
    assert world.approvals.get(approval.id).is_pending


def test_what_a_worker_lacks_is_no_reviewers_to_know(world, call):
    approval = proposed(world)
    path = link(world, approval)
    body = {"proposal_sha256": approval.proposal_sha256}
    world.secrets.delete("KEY")
    for answer in (
        call("POST", f"{path}/approve", body),
        call("POST", f"{path}/approve", form=body),
    ):
        assert answer.status_code == 422
        assert "tell whoever sent you the link" in answer.text
        assert "KEY" not in answer.text
        assert "gated" not in answer.text
    world.secrets.put("KEY", SECRET_VALUE, at=world.clock.now())
    world.settings.change("gated", lambda settings: replace(settings, enabled=False))
    answer = call("POST", f"{path}/approve", body)
    assert (answer.status_code, answer.json["error_code"]) == (409, "worker_disabled")
    assert "gated" not in answer.text
    assert world.approvals.get(approval.id).is_pending
