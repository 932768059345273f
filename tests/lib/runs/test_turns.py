"""One at a time for each key."""

from __future__ import annotations

import threading

import pytest

from lib.runs.turns import Turns
from tests.contract.threads import together

DEADLINE_SECONDS = 20


def test_of_many_one_has_the_turn() -> None:
    turns, inside, most = Turns(), [0], [0]

    def take(_: int) -> None:
        with turns.of("a"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1

    assert together(take) == [None] * 32
    assert most == [1]


def test_another_key_waits_for_nobody() -> None:
    turns, entered = Turns(), threading.Event()

    def enter() -> None:
        with turns.of("b"):
            entered.set()

    with turns.of("a"):
        other = threading.Thread(target=enter)
        other.start()
        assert entered.wait(DEADLINE_SECONDS)
        other.join()


def test_a_turn_ends_with_an_error_too_and_nothing_stays() -> None:
    turns = Turns()

    with pytest.raises(ValueError, match="no"), turns.of("a"):
        raise ValueError("no")
    with turns.of("a"):
        assert len(turns._turns) == 1

    assert turns._turns == {}
