"""Whatever is done to feedback in whatever order: every adapter says the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from lib.errors import FloomError
from lib.storage.records import Feedback, RunStatus
from lib.storage.stored import Stored
from tests.contract.samples import Samples, ending
from tests.contract.stores import BACKENDS, Stores, open_stores

NAMES = "ab"
HASHES = [letter * 64 for letter in "12"]
names = st.sampled_from(NAMES)
numbers = st.integers(0, 2)
contents = st.sampled_from([Stored(6, text='"Good"'), *(Stored(9, sha256=each) for each in HASHES)])


class Machine(RuleBasedStateMachine):
    """Runs that come and go, and what is said of them."""

    @initialize()
    def open(self) -> None:
        self.exit = ExitStack()
        self.samples = Samples()
        self.stores = [
            self.exit.enter_context(open_stores(backend, self.samples.clock))
            for backend in BACKENDS
        ]
        self.runs = [self.samples.id("run")]  # one that is not there
        self.rows: list[Feedback] = []

    @rule()
    def start_a_run(self) -> None:
        change = self.samples.new()
        self.runs.append(change.run.id)
        for stores in self.stores:
            stores.runs.create(change)

    @rule(number=numbers)
    def delete_a_run(self, number: int) -> None:
        run_id = self._run(number)
        now = self.samples.now
        self.samples.clock.advance(seconds=1)
        end = ending(now, RunStatus.CANCELLED)
        self._same(lambda stores: stores.runs.change(run_id, end).status)
        for stores in self.stores:
            stores.runs.delete([run_id], before=self.samples.now)

    @rule(number=numbers, name=st.none() | names, content=contents, key=st.none() | names)
    def add(self, number: int, name: str | None, content: Stored, key: str | None) -> None:
        row = self.samples.feedback(self._run(number), name, content=content)
        self.rows.append(row)
        self._add(row, key)

    @rule(number=numbers, key=st.none() | names)
    def add_again(self, number: int, key: str | None) -> None:
        if self.rows:
            self._add(self.rows[-1 - number % len(self.rows)], key)

    @rule(number=numbers, name=names)
    def link(self, number: int, name: str) -> None:
        self._same(
            lambda stores: stores.feedback.change(
                self._run(number), name, lambda each: replace(each, issue_id="ISSUE-0001")
            )
        )

    @rule(hours=st.sampled_from([1, 25]))
    def wait(self, hours: int) -> None:
        self.samples.clock.advance(hours=hours)

    @invariant()
    def all_adapters_show_the_same(self) -> None:
        for run_id in self.runs:
            self._same(partial(self._shown, run_id))
        self._same(lambda stores: stores.references.find_unnamed(HASHES))

    @invariant()
    def what_is_counted_is_what_is_there(self) -> None:
        for run_id in self.runs:
            rows, count, _ = self._shown(run_id, self.stores[0])
            assert len(rows) == count
            assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
            assert len({row.feedback_id for row in rows}) == len(rows)

    def teardown(self) -> None:
        if hasattr(self, "exit"):
            self.exit.close()

    def _run(self, number: int) -> str:
        return self.runs[-1 - number % len(self.runs)]

    def _add(self, row: Feedback, key: str | None) -> None:
        claim = self.samples.claim(key, answer=f'"{row.id}"') if key else None
        self._same(lambda stores: stores.feedback.add(row, now=self.samples.now, claim=claim))

    @staticmethod
    def _shown(run_id: str, stores: Stores) -> tuple[list[Feedback], int, list[Feedback | None]]:
        feedback = stores.feedback
        page = feedback.list(run_id, limit=2)
        rows = [*page.rows]
        while page.next_key is not None:
            page = feedback.list(run_id, limit=2, after=page.next_key)
            rows += page.rows
        return rows, feedback.count(run_id), [feedback.find(run_id, name) for name in NAMES]

    def _same(self, ask: Callable[[Stores], object]) -> None:
        """Ask every adapter; their answers, or the errors that they raise, are equal."""
        answers = []
        for stores in self.stores:
            try:
                answers.append((ask(stores), ""))
            except FloomError as error:
                answers.append((type(error), error.detail))
        assert answers.count(answers[0]) == len(answers), answers


def test_adapters_agree() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=20, stateful_step_count=25, deadline=None)
    )
