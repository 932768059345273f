"""Feedback becomes an issue once, whoever asks, how often, and whatever fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from lib.runs.feedback import Leaving, NewFeedback
from lib.runs.promotion import Promoted, Promotions, Wanted, request_of
from lib.secrets.cipher import SecretUnreadable
from lib.storage.memory import MemorySecretStore
from lib.storage.ports import FeedbackNotFound, RunNotFound, StoreUnavailable
from lib.storage.records import Feedback
from lib.workspace.issues import Issue, IssueChange, IssueQuery
from lib.workspace.workspace import Delete
from tests.contract.fused import Fuse, Killed
from tests.contract.threads import together
from tests.lib.runs.world import AUTHOR, World


class Unreadable(MemorySecretStore):
    """Secrets under a key that is lost."""

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        raise SecretUnreadable("The key is another.")


@pytest.fixture
def run_id(world: World) -> str:
    world.add_worker()
    return world.start().id


def wanted(run_id: str, feedback_id: str | None = "x", **fields: Any) -> Wanted:
    defaults: dict[str, Any] = {"author": AUTHOR, "by": "ada"}
    return Wanted(run_id=run_id, feedback_id=feedback_id, **{**defaults, **fields})


def leave(world: World, run_id: str, feedback_id: str = "x", **fields: Any) -> Feedback:
    defaults: dict[str, Any] = {"content": "Wrong total", "by": "bob"}
    said = NewFeedback(run_id=run_id, feedback_id=feedback_id, **{**defaults, **fields})
    leaving = world.feedback.leave(said)
    assert isinstance(leaving, Leaving)
    return leaving.feedback


def issues(world: World) -> list[Issue]:
    return [row.issue for row in world.issues.list(IssueQuery()).rows]


def promotions(world: World, fuse: Fuse) -> Promotions:
    """Return promotions that a fuse ends."""
    return Promotions(
        book=world.feedback,
        store=fuse.protect(world.feedback_store),
        runs=world.runs,
        issues=fuse.protect(world.issues),
        workspace=fuse.protect(world.workspace),
        masks=world.masks,
        clock=world.clock,
    )


def row_of(world: World, run_id: str, feedback_id: str = "x") -> Feedback:
    row = world.feedback_store.find(run_id, feedback_id)
    assert row is not None
    return row


def test_feedback_that_is_there_becomes_an_issue(world: World, run_id: str) -> None:
    leave(world, run_id, rating="down")

    promoted = world.promotions().promote(wanted(run_id))

    (issue,) = issues(world)
    assert promoted == Promoted("ISSUE-0001", True, issue)
    assert (issue.asset_type, issue.asset_id, issue.source) == ("run", run_id, "run_feedback")
    assert issue.labels == ("run-feedback", "feedback:x")
    assert (issue.status, issue.created_by) == ("open", "ada")
    assert issue.title == "Feedback on plain: Wrong total"
    for said in ("> Wrong total", "`plain`", run_id, "Rating: down", "From: bob"):
        assert said in issue.body
    assert row_of(world, run_id).issue_id == "ISSUE-0001"


def test_the_commit_is_the_callers_and_carries_the_trailer(world: World, run_id: str) -> None:
    row = leave(world, run_id)
    world.promotions().promote(wanted(run_id))

    _, commit = next(world.workspace.history())
    assert commit.author == "ada <ada@example.com>"
    assert commit.message.splitlines() == [
        "issues: create ISSUE-0001 Feedback on plain: Wrong total",
        "",
        f"Floom-Request: {request_of(row)}",
    ]


def test_the_same_again_is_the_same_issue_whatever_its_status(world: World, run_id: str) -> None:
    leave(world, run_id)
    promote = world.promotions().promote
    promote(wanted(run_id))
    closed = IssueChange(status="closed", labels=(), title="other")
    changed = world.issues.update("ISSUE-0001", closed, author=AUTHOR, by="ada")
    tip = world.workspace.tip()

    for again in (wanted(run_id), wanted(run_id, content="other", rating=1, title="t")):
        assert promote(again) == Promoted("ISSUE-0001", False, changed)
    assert world.workspace.tip() == tip


def test_content_under_a_new_name_is_left_first(world: World, run_id: str) -> None:
    promoted = world.promotions().promote(
        wanted(run_id, content="Wrong", rating=2, title="Totals are off")
    )

    row = row_of(world, run_id)
    assert (row.created_by, row.rating, row.issue_id) == ("ada", 2, "ISSUE-0001")
    assert world.feedback.words(row) == "Wrong"
    assert promoted.issue is not None
    assert promoted.issue.title == "Totals are off"


def test_content_without_a_name_is_new_each_time(world: World, run_id: str) -> None:
    for number in (1, 2):
        promoted = world.promotions().promote(wanted(run_id, None, content="Wrong"))
        assert (promoted.issue_id, promoted.created) == (f"ISSUE-000{number}", True)

    rows = world.feedback.list(run_id, limit=9).rows
    assert {row.issue_id for row in rows} == {"ISSUE-0001", "ISSUE-0002"}
    assert all(row.feedback_id == row.id for row in rows)
    labels = {issue.labels[1] for issue in issues(world)}
    assert labels == {f"feedback:{row.id}" for row in rows}


def test_one_name_on_two_runs_is_two_issues(world: World, run_id: str) -> None:
    other = world.start().id
    ids = [
        world.promotions().promote(wanted(each, content="Wrong")).issue_id
        for each in (run_id, other, run_id, other)
    ]
    assert ids == ["ISSUE-0001", "ISSUE-0002"] * 2


def test_what_is_not_there_is_refused_and_nothing_left(world: World, run_id: str) -> None:
    promote = world.promotions().promote
    unknown = world.ids.new("run")

    with pytest.raises(FeedbackNotFound, match="feedback x"):
        promote(wanted(run_id))
    with pytest.raises(RunNotFound, match=unknown):
        promote(wanted(unknown, content="Wrong"))

    assert issues(world) == []
    assert world.feedback.count(run_id) == 0


def test_no_secret_gets_into_git(world: World) -> None:
    world.add_worker("keyed", "exec: {secrets: [API_KEY]}\n")
    world.secrets.put("API_KEY", "s3cr3t-value", at=world.clock.now())
    run_id = world.start("keyed").id

    world.promotions().promote(wanted(run_id, content="It printed s3cr3t-value"))

    (issue,) = issues(world)
    assert (issue.title, issue.body.splitlines()[0]) == (
        "Feedback on keyed: It printed ***",
        "> It printed ***",
    )


def test_where_secrets_cannot_be_read_nothing_happens(world: World, run_id: str) -> None:
    world.secrets = Unreadable()

    with pytest.raises(SecretUnreadable):
        world.promotions().promote(wanted(run_id, content="Wrong"))
    assert world.feedback.count(run_id) == 0
    assert issues(world) == []


def test_an_issue_that_somebody_deleted_is_not_made_again(world: World, run_id: str) -> None:
    promote = world.promotions().promote
    promote(wanted(run_id, content="Wrong"))
    world.workspace.commit(lambda _: [Delete(".floom/issues/ISSUE-0001.md")], "x", AUTHOR)

    assert promote(wanted(run_id)) == Promoted("ISSUE-0001", False, None)


def test_two_hundred_callers_get_one_issue(world: World, run_id: str) -> None:
    promote = world.promotions().promote

    answers = together(lambda _: promote(wanted(run_id, content="Wrong")), 200)

    made = [each for each in answers if isinstance(each, Promoted)]
    assert len(made) == 200
    assert sum(each.created for each in made) == 1
    assert {each.issue_id for each in made} == {"ISSUE-0001"}
    assert len(issues(world)) == 1
    assert world.feedback.count(run_id) == 1


def kill(world: World, run_id: str, length: int) -> None:
    """Promote on a server that is killed at a step."""
    with suppress(Killed):
        promotions(world, Fuse(length)).promote(wanted(run_id, content="Wrong"))


@pytest.mark.parametrize("length", range(16))
def test_a_server_killed_at_any_step_makes_one_issue(
    world: World, run_id: str, length: int
) -> None:
    """Though others make issues, and somebody edits what it left, before the next life."""
    kill(world, run_id, length)
    for left in issues(world):
        edited = IssueChange(status="closed", labels=("mine",), clear_asset=True)
        world.issues.update(left.id, edited, author=AUTHOR, by="eve")
    other = world.start().id
    world.promotions().promote(wanted(other, content="Other"))
    world.clock.advance(hours=3)

    promoted = world.promotions().promote(wanted(run_id, content="Wrong"))

    assert promoted.issue is not None
    assert len(issues(world)) == 2
    assert "> Wrong" in promoted.issue.body
    assert row_of(world, run_id).issue_id == promoted.issue_id
    assert world.promotions().promote(wanted(run_id)) == replace(promoted, created=False)
    assert len(issues(world)) == 2


def test_the_steps_of_a_promotion_are_fewer_than_were_tried(world: World, run_id: str) -> None:
    kill(world, run_id, 15)
    assert row_of(world, run_id).issue_id is not None


def test_a_failure_before_the_commit_leaves_it_free(world: World, run_id: str) -> None:
    def fail(step: str) -> None:
        if step == "before find_or_create":
            raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        promotions(world, Fuse(between=fail)).promote(wanted(run_id, content="Wrong"))
    assert issues(world) == []

    assert world.promotions().promote(wanted(run_id)).created


def test_a_failure_after_the_commit_is_no_second_issue(world: World, run_id: str) -> None:
    def fail(step: str) -> None:
        if step == "after find_or_create":
            raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        promotions(world, Fuse(between=fail)).promote(wanted(run_id, content="Wrong"))

    promoted = world.promotions().promote(wanted(run_id))
    assert (promoted.issue_id, promoted.created) == ("ISSUE-0001", False)
    assert len(issues(world)) == 1


def test_a_commit_of_somebody_else_with_the_trailer_is_no_issue(world: World, run_id: str) -> None:
    row = leave(world, run_id)
    world.feedback_store.change(
        run_id, "x", lambda each: replace(each, promotion_began_at=world.clock.now())
    )
    world.write_worker("other")
    world.reload()
    world.workspace.commit(
        lambda _: [Delete("workers/other")],
        "by hand",
        AUTHOR,
        trailers={"Floom-Request": request_of(row)},
    )

    assert world.promotions().promote(wanted(run_id)).created
