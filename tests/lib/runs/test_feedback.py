"""What people say of runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.runs.feedback import FeedbackBook, Leaving, NewFeedback
from lib.runs.key_use import KeyUse
from lib.storage.ports import FeedbackConflict, IdempotencyKeyReused, RunNotFound
from lib.storage.records import StoredAnswer
from lib.storage.stored import MAX_INLINE_BYTES, Stored
from tests.contract.threads import MANY, together
from tests.lib.runs.world import World

LONG = "ü\u2028\0\"'" * 2_000  # 10,000 characters, and above what a record holds


@pytest.fixture
def run_id(world: World) -> str:
    world.add_worker()
    return world.start().id


def said(run_id: str, content: str = "Good", **fields: Any) -> NewFeedback:
    return NewFeedback(run_id=run_id, content=content, **{"by": "ada", **fields})


def left(book: FeedbackBook, new: NewFeedback) -> Leaving:
    """Leave feedback without a key."""
    leaving = book.leave(new)
    assert isinstance(leaving, Leaving)
    return leaving


def key(body: str = "body", scope: str = "scope") -> KeyUse[Leaving]:
    """Return a use whose answer says which row it is about."""

    def answer(leaving: Leaving) -> StoredAnswer:
        text = json.dumps(leaving.feedback.id)
        return StoredAnswer(201 if leaving.is_new else 200, Stored(len(text), text=text))

    return KeyUse(scope, body, answer)


def test_it_is_kept_as_it_was_said(world: World, run_id: str) -> None:
    leaving = left(world.feedback, said(run_id, LONG, rating=4, feedback_id="mine"))

    assert leaving.is_new
    row = leaving.feedback
    assert (row.feedback_id, row.rating, row.created_by) == ("mine", 4, "ada")
    assert row.created_at == world.clock.now()
    assert world.feedback.words(row) == LONG
    assert row.content.size > MAX_INLINE_BYTES
    assert row.content.text is None
    assert world.feedback.list(run_id, limit=9).rows == (row,)


def test_without_a_name_it_gets_its_id(world: World, run_id: str) -> None:
    rows = [left(world.feedback, said(run_id)).feedback for _ in range(2)]

    assert [row.feedback_id for row in rows] == [row.id for row in rows]
    assert rows[0].id.startswith("fb_")
    assert world.feedback.count(run_id) == 2


@pytest.mark.parametrize("content", ["Good", LONG])
def test_the_same_again_is_the_same_row(world: World, run_id: str, content: str) -> None:
    first = left(world.feedback, said(run_id, content, rating="up", feedback_id="a"))
    again = left(world.feedback, said(run_id, content, rating="up", feedback_id="a", by="bob"))

    assert again == Leaving(first.feedback, is_new=False)
    assert world.feedback.count(run_id) == 1


@pytest.mark.parametrize(("content", "rating"), [("Bad", "up"), ("Good", "down"), ("Good", None)])
def test_other_words_under_a_known_name_are_refused(
    world: World, run_id: str, content: str, rating: Any
) -> None:
    first = left(world.feedback, said(run_id, rating="up", feedback_id="a"))

    with pytest.raises(FeedbackConflict, match="another content or rating"):
        world.feedback.leave(said(run_id, content, rating=rating, feedback_id="a"), key=key())

    assert world.feedback.list(run_id, limit=9).rows == (first.feedback,)
    assert world.runs.find_answer("scope", "body", now=world.clock.now()) is None


def test_an_unknown_run_is_named_and_nothing_kept(world: World) -> None:
    run_id = world.ids.new("run")

    with pytest.raises(RunNotFound, match=run_id):
        world.feedback.leave(said(run_id, LONG), key=key())

    assert world.blob_keys() == set()


def test_a_key_gives_the_first_answer_again(world: World, run_id: str) -> None:
    first = world.feedback.leave(said(run_id), key=key())
    again = world.feedback.leave(said(run_id), key=key())

    assert isinstance(first, Leaving)
    assert isinstance(again, StoredAnswer)
    assert again.body.text == f'"{first.feedback.id}"'
    assert world.feedback.count(run_id) == 1
    with pytest.raises(IdempotencyKeyReused):
        world.feedback.leave(said(run_id), key=key(body="other"))


def test_a_new_key_for_a_known_row_keeps_that_answer(world: World, run_id: str) -> None:
    first = left(world.feedback, said(run_id, feedback_id="a"))

    world.feedback.leave(said(run_id, feedback_id="a"), key=key())
    again = world.feedback.leave(said(run_id, feedback_id="a"), key=key())

    assert isinstance(again, StoredAnswer)
    assert (again.status, again.body.text) == (200, f'"{first.feedback.id}"')


def test_of_many_at_once_all_find_one_row(world: World, run_id: str) -> None:
    answers = together(lambda _: world.feedback.leave(said(run_id, feedback_id="a")))

    made = [each for each in answers if isinstance(each, Leaving)]
    assert len(made) == MANY
    assert sum(each.is_new for each in made) == 1
    assert len({each.feedback.id for each in made}) == 1
