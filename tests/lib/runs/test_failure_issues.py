"""An issue of each kind of failure that nobody has dealt with yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from lib.runs import state
from lib.runs.engine import Engine
from lib.runs.failure_issues import MAX_OPEN, FailureIssues
from lib.runs.signals import Bell
from lib.secrets.cipher import SecretUnreadable
from lib.storage.memory import MemorySecretStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunError, RunRecord, RunStatus
from lib.workspace.errors import WorkspaceConflict
from lib.workspace.issues import Issue, IssueChange, IssueQuery, NewIssue
from tests.contract.fused import Fuse, Killed
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, FakeRun
from tests.lib.runs.world import AUTHOR, OWNER, World

OPT_IN = "issue_on_failure: true\n"
RETRIES = "retry: {max_attempts: 2, delay_seconds: 0}\n"


def failing(code: str = "no_rows", error: Any = "There are no rows.") -> Callable[[FakeRun], None]:
    """Return a script that ends with an error of the worker's own."""
    return lambda run: run.finish({"status": "error", "error": error, "error_code": code})


@pytest.fixture
def failed(world: World) -> Callable[..., RunRecord]:
    """Return a function that executes a run which fails."""
    world.add_worker("plain", OPT_IN)

    def execute(worker_id: str = "plain", **result: Any) -> RunRecord:
        world.sandbox.script = failing(**result)
        run = world.executed(worker_id)
        assert run.status is RunStatus.FAILED
        return run

    return execute


def issues(world: World) -> list[Issue]:
    return [row.issue for row in world.issues.list(IssueQuery()).rows]


def close(world: World, issue: Issue) -> None:
    world.issues.update(issue.id, IssueChange(status="closed"), author=AUTHOR, by="ada")


def reported(world: World) -> list[str]:
    return [each.run_id for each in world.reports.list(limit=99)]


def fused(world: World, fuse: Fuse) -> FailureIssues:
    """Return what a fuse ends."""
    return FailureIssues(
        runs=world.runs,
        reports=fuse.protect(world.reports),
        issues=fuse.protect(world.issues),
        workspace=fuse.protect(world.workspace),
        masks=world.masks,
        clock=world.clock,
        bell=Bell(),
    )


class TestReports:
    def test_a_failure_for_good_leaves_a_report_and_rings(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        run = failed()

        assert reported(world) == [run.id]
        assert world.failures.rings == 1

    def test_a_worker_that_did_not_ask_for_it_leaves_none(self, world: World) -> None:
        world.add_worker("quiet")
        world.sandbox.script = failing()
        world.executed("quiet")

        assert reported(world) == []
        assert world.failures.rings == 0

    def test_what_counts_is_the_manifest_that_the_run_began_with(self, world: World) -> None:
        world.add_worker("plain", OPT_IN)
        run = world.claimed()
        world.add_worker("plain")
        world.sandbox.script = failing()
        world.execute(run)

        assert reported(world) == [run.id]

    def test_a_retry_that_is_left_is_no_failure_for_good(self, world: World) -> None:
        world.add_worker("plain", OPT_IN + RETRIES)
        world.sandbox.script = lambda run: run.finish(exit_code=1)
        run = world.executed()
        assert run.status is RunStatus.QUEUED
        assert reported(world) == []

        world.execute(world.claim(run))
        assert world.status(run) is RunStatus.FAILED
        assert reported(world) == [run.id]

    def test_recovery_leaves_one_too(self, world: World) -> None:
        world.add_worker("plain", OPT_IN)
        run = world.claimed()
        world.clock.advance(minutes=1)

        assert world.recovery().recover_expired() == 1

        assert world.status(run) is RunStatus.FAILED
        assert reported(world) == [run.id]
        assert world.failures.rings == 1

    @pytest.mark.parametrize("was_running", [False, True])
    def test_a_cancelled_run_has_not_failed(self, world: World, was_running: bool) -> None:
        world.add_worker("plain", OPT_IN)
        run = world.claimed() if was_running else world.start()
        world.lifecycle().cancel(run.id)
        if was_running:
            world.settle(run, state.Interrupted(run.fence, "gone"))

        assert world.status(run) is RunStatus.CANCELLED
        assert reported(world) == []

    def test_a_failure_while_it_is_being_cancelled_is_one(self, world: World) -> None:
        world.add_worker("plain", OPT_IN + RETRIES)
        run = world.claimed()
        world.lifecycle().cancel(run.id)
        world.settle(run, state.Failed(run.fence, RunError("timeout", "slow")))

        assert reported(world) == [run.id]


class TestIssues:
    def test_one_is_made_that_names_worker_code_and_run(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        run = failed()

        assert world.failure_issues().work_off() == 1

        (issue,) = issues(world)
        assert (issue.asset_type, issue.asset_id, issue.source) == (
            "worker",
            "plain",
            "run_failure",
        )
        assert issue.labels == ("run-failure", "error:no_rows")
        assert (issue.title, issue.created_by) == ("Runs of plain fail: no_rows", "system")
        for said in ("There are no rows.", run.id, run.worker_sha):
            assert said in issue.body
        assert reported(world) == []
        _, commit = next(world.workspace.history())
        assert commit.author == "Floom <floom@local>"

    def test_while_it_is_open_the_same_kind_makes_no_other(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        for _ in range(2):
            failed(error="other words")
        assert world.failure_issues().work_off() == 1
        failed()
        tip = world.workspace.tip()

        assert world.failure_issues().work_off() == 0
        assert world.workspace.tip() == tip
        assert reported(world) == []

    def test_another_code_or_worker_is_another_kind(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        world.add_worker("other", OPT_IN)
        failed()
        failed(code="no_columns")
        failed("other")

        assert world.failure_issues().work_off() == 3
        assert len({(each.asset_id, each.labels) for each in issues(world)}) == 3

    def test_after_it_is_closed_the_same_kind_is_new(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        failed()
        world.failure_issues().work_off()
        close(world, issues(world)[0])
        failed()

        assert world.failure_issues().work_off() == 1
        assert [each.status for each in issues(world)] == ["closed", "open"]

    def test_an_issue_of_the_same_labels_by_hand_is_not_it(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        by_hand = NewIssue(title="x", labels=("run-failure", "error:no_rows"))
        world.issues.create(by_hand, author=AUTHOR, by="ada")
        failed()

        assert world.failure_issues().work_off() == 1

    def test_codes_without_end_do_not_fill_git(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        for number in range(MAX_OPEN + 3):
            failed(code=f"code_{number}")

        assert world.failure_issues().work_off() == MAX_OPEN
        assert reported(world) == []
        close(world, issues(world)[0])
        failed(code="one_more")
        assert world.failure_issues().work_off() == 1

    def test_no_secret_gets_into_git(self, world: World) -> None:
        world.add_worker("keyed", OPT_IN + "exec: {secrets: [API_KEY]}\n")
        world.secrets.put("API_KEY", "s3cr3t-value", at=world.clock.now())
        world.sandbox.script = failing(error={"message": "no s3cr3t-value", "detail": "old-value"})
        world.executed("keyed")
        world.secrets.put("API_KEY", "old-value", at=world.clock.now())

        world.failure_issues().work_off()

        (issue,) = issues(world)
        assert "no ***" in issue.body
        assert "value" not in issue.body

    def test_where_secrets_cannot_be_read_the_run_has_no_say(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        failed()
        world.secrets = Unreadable()

        assert world.failure_issues().work_off() == 1
        assert "There are no rows." not in issues(world)[0].body


class Unreadable(MemorySecretStore):
    """Secrets under a key that is lost."""

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        raise SecretUnreadable("The key is another.")


class TestMishaps:
    @pytest.mark.parametrize("length", range(14))
    def test_a_server_killed_at_any_step_makes_one_issue(
        self, world: World, failed: Callable[..., RunRecord], length: int
    ) -> None:
        """Though somebody closes what it left before the next life looks."""
        failed()
        with suppress(Killed):
            fused(world, Fuse(length)).work_off()
        for left in issues(world):
            close(world, left)
        world.clock.advance(hours=3)

        world.failure_issues().work_off()

        assert len(issues(world)) == 1
        assert reported(world) == []

    def test_the_steps_are_fewer_than_were_tried(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        failed()
        with suppress(Killed):
            fused(world, Fuse(13)).work_off()
        assert reported(world) == []

    @pytest.mark.parametrize("error", [StoreUnavailable, WorkspaceConflict])
    def test_a_workspace_that_takes_nothing_now_gets_it_later(
        self, world: World, failed: Callable[..., RunRecord], error: type[Exception]
    ) -> None:
        runs = [failed().id, failed(code="other").id]

        def fail(step: str) -> None:
            if step == "before find_or_create":
                raise error("Not now.")

        with pytest.raises(error):
            fused(world, Fuse(between=fail)).work_off()
        assert reported(world) == runs

        assert world.failure_issues().work_off() == 2

    def test_one_that_cannot_be_made_keeps_no_other_from_its_turn(
        self, world: World, failed: Callable[..., RunRecord], caplog: pytest.LogCaptureFixture
    ) -> None:
        first = failed().id
        failed(code="other")
        steps = iter([True])

        def fail(step: str) -> None:
            if step == "before find_or_create" and next(steps, False):
                raise ValueError("a defect")

        assert fused(world, Fuse(between=fail)).work_off() == 1
        assert reported(world) == [first]
        assert "failure_not_reported" in caplog.text

    def test_a_run_that_has_gone_is_reported_no_more(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        run = failed()

        def retire(step: str) -> None:
            if step == "after list":
                world.clock.advance(days=99)
                world.retention().sweep()

        assert fused(world, Fuse(between=retire)).work_off() == 0
        assert reported(world) == []
        assert run.id not in str(issues(world))

    def test_it_stops_between_two(self, world: World, failed: Callable[..., RunRecord]) -> None:
        failed()
        assert world.failure_issues().work_off(should_stop=lambda: True) == 0
        assert len(reported(world)) == 1


class TestEngine:
    def engine(self, world: World, settled: threading.Event) -> Engine:
        """Return an engine that says when it has seen to a report."""

        def heard(step: str) -> None:
            if step == "after settle":
                settled.set()

        failures = fused(world, Fuse(between=heard))
        failures.bell = world.failures
        return Engine(
            owner=OWNER,
            executor=world.executor(),
            recovery=world.recovery(),
            retention=world.retention(),
            removal=world.removal(),
            failures=failures,
            expiry=world.expiry,
        )

    def test_it_reports_beside_the_runs(self, world: World) -> None:
        world.add_worker("plain", OPT_IN)
        world.sandbox.script = failing()
        settled = threading.Event()

        with self.engine(world, settled):
            run = world.until(world.start(), RunStatus.FAILED)
            assert settled.wait(DEADLINE_SECONDS)

        assert run.id in issues(world)[0].body

    def test_it_reports_at_its_start_what_an_earlier_life_left(
        self, world: World, failed: Callable[..., RunRecord]
    ) -> None:
        failed()
        settled = threading.Event()

        with self.engine(world, settled):
            assert settled.wait(DEADLINE_SECONDS)

        assert len(issues(world)) == 1

    def test_no_end_waits_for_an_issue(self, world: World) -> None:
        """While a commit stands still, runs end as ever."""
        world.add_worker("plain", OPT_IN)
        world.sandbox.script = failing()
        held, free = threading.Event(), threading.Event()

        def hold(step: str) -> None:
            if step == "before find_or_create":
                held.set()
                assert free.wait(DEADLINE_SECONDS)

        failures = fused(world, Fuse(between=hold))
        failures.bell = world.failures
        engine = Engine(
            owner=OWNER,
            executor=world.executor(),
            recovery=world.recovery(),
            retention=world.retention(),
            removal=world.removal(),
            failures=failures,
            expiry=world.expiry,
        )
        with engine:
            world.until(world.start(), RunStatus.FAILED)
            assert held.wait(DEADLINE_SECONDS)
            for _ in range(3):
                world.until(world.start(), RunStatus.FAILED)
            free.set()

        assert len(issues(world)) == 1
