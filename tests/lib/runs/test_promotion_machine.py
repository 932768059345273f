"""Feedback said and promoted in any order, by servers that are killed at any step.

What is expected is a dictionary of what was said, and stock facts of history:
which commits carry which trailer.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lib.runs.feedback import Leaving, NewFeedback
from lib.runs.promotion import Promotions, Wanted, request_of
from lib.storage.ports import FeedbackConflict, FeedbackNotFound
from lib.storage.records import Feedback
from lib.workspace.issues import IssueChange, IssueQuery
from lib.workspace.workspace import Delete
from tests.contract.fused import Fuse, Killed
from tests.lib.runs.world import AUTHOR, open_world

TRAILER = re.compile(r"^Floom-Request: (\w+)$", re.MULTILINE)
runs = st.sampled_from([0, 1])
names = st.sampled_from("ab")
words = st.sampled_from(["Good", "Bad"])
fuses = st.none() | st.integers(0, 15)
changes = st.sampled_from(
    [
        IssueChange(status="closed"),
        IssueChange(status="open"),
        IssueChange(labels=("mine",)),
        IssueChange(clear_asset=True),
    ]
)


class Machine(RuleBasedStateMachine):
    """Two runs, and people who think something of them."""

    @initialize()
    def open(self) -> None:
        self.exit = ExitStack()
        folder = self.exit.enter_context(tempfile.TemporaryDirectory())
        self.world = self.exit.enter_context(open_world(Path(folder)))
        self.world.add_worker()
        self.runs = [self.world.start().id for _ in range(2)]
        self.said: dict[tuple[str, str], str] = {}

    @rule(run=runs, name=names, text=words)
    def leave(self, run: int, name: str, text: str) -> None:
        run_id = self.runs[run]
        known = self.said.get((run_id, name))
        said = NewFeedback(run_id=run_id, content=text, feedback_id=name, by="ada")
        try:
            leaving = self.world.feedback.leave(said)
        except FeedbackConflict:
            assert known not in (None, text)
            return
        assert isinstance(leaving, Leaving)
        assert leaving.is_new is (known is None)
        self.said[run_id, name] = text
        assert known in (None, text)

    @rule(run=runs, name=names, text=st.none() | words)
    def promote(self, run: int, name: str, text: str | None) -> None:
        run_id = self.runs[run]
        before = self.made()
        try:
            promoted = self.world.promotions().promote(self.wanted(run_id, name, text))
        except FeedbackNotFound:
            assert text is None
            assert (run_id, name) not in self.said
            return
        self.said.setdefault((run_id, name), text or "")
        row = self.row(run_id, name)
        assert row is not None
        assert row.issue_id == promoted.issue_id
        assert promoted.created is (request_of(row) not in before)
        assert self.made()[request_of(row)] == 1

    @rule(run=runs, name=names, text=words, fuse=fuses)
    def promote_and_die(self, run: int, name: str, text: str, fuse: int | None) -> None:
        run_id = self.runs[run]
        with suppress(Killed):
            self.killed_at(Fuse(fuse)).promote(self.wanted(run_id, name, text))
        if self.row(run_id, name) is not None:
            self.said.setdefault((run_id, name), text)

    @precondition(lambda self: self.world.issues.list(IssueQuery()).rows)
    @rule(data=st.data(), change=changes)
    def edit_an_issue(self, data: st.DataObject, change: IssueChange) -> None:
        row = data.draw(st.sampled_from(self.world.issues.list(IssueQuery()).rows))
        self.world.issues.update(row.issue.id, change, author=AUTHOR, by="eve")

    @precondition(lambda self: self.world.issues.list(IssueQuery()).rows)
    @rule(data=st.data())
    def delete_an_issue(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.world.issues.list(IssueQuery()).rows))
        self.world.workspace.commit(lambda _: [Delete(row.path)], "by hand", AUTHOR)

    @rule(hours=st.sampled_from([0.01, 30]))
    def wait(self, hours: float) -> None:
        self.world.clock.advance(hours=hours)

    @invariant()
    def nothing_becomes_two_issues(self) -> None:
        assert set(self.made().values()) <= {1}

    @invariant()
    def what_was_said_stays_as_it_was_said(self) -> None:
        for run_id in self.runs:
            rows = self.world.feedback.list(run_id, limit=9).rows
            expected = {name: text for (run, name), text in self.said.items() if run == run_id}
            assert {row.feedback_id: self.world.feedback.words(row) for row in rows} == expected

    @invariant()
    def a_link_leads_to_the_commit_that_made_the_issue(self) -> None:
        for run_id, name in self.said:
            row = self.row(run_id, name)
            if row is not None and row.issue_id is not None:
                assert self.subjects()[request_of(row)].split()[2] == row.issue_id

    def teardown(self) -> None:
        if hasattr(self, "exit"):
            self.exit.close()

    def wanted(self, run_id: str, name: str, text: str | None) -> Wanted:
        return Wanted(run_id=run_id, feedback_id=name, content=text, author=AUTHOR, by="ada")

    def row(self, run_id: str, name: str) -> Feedback | None:
        return self.world.feedback_store.find(run_id, name)

    def made(self) -> Counter[str]:
        """Count the commits of each trailer."""
        return Counter(
            found
            for _, commit in self.world.workspace.history()
            for found in TRAILER.findall(commit.message)
        )

    def subjects(self) -> dict[str, str]:
        return {
            found: commit.message.splitlines()[0]
            for _, commit in self.world.workspace.history()
            for found in TRAILER.findall(commit.message)
        }

    def killed_at(self, fuse: Fuse) -> Promotions:
        world = self.world
        return Promotions(
            book=world.feedback,
            store=fuse.protect(world.feedback_store),
            runs=world.runs,
            issues=fuse.protect(world.issues),
            workspace=fuse.protect(world.workspace),
            masks=world.masks,
            clock=world.clock,
        )


def test_feedback_becomes_an_issue_once_whatever_happens() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None)
    )
