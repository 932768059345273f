"""Ids: they say what a thing is, sort by creation, and a time bounds them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.clock import ManualClock, from_milliseconds
from lib.ids import (
    PREFIXES,
    RESERVED_WORKER_IDS,
    Ids,
    is_addressable,
    is_worker_id,
    lowest_id_at,
    pattern,
)  # fmt: skip

MILLISECONDS = st.integers(1_500_000_000_000, 1_900_000_000_000)  # 2017 to 2030


def id_at(milliseconds: int) -> str:
    return Ids(ManualClock(from_milliseconds(milliseconds))).new("run")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_id_matches_the_pattern_of_its_kind_only(prefix: str) -> None:
    made = Ids(ManualClock()).new(prefix)
    assert [each for each in PREFIXES if re.match(pattern(each), made)] == [prefix]
    assert not re.match(pattern(prefix), made.upper())


def test_ids_of_one_moment_differ() -> None:
    ids = Ids(ManualClock())
    made = [ids.new("run") for _ in range(1_000)]
    assert len(set(made)) == 1_000
    assert made == sorted(made)


@given(MILLISECONDS, st.integers(1, 10**9))
def test_a_later_id_is_higher(milliseconds: int, later: int) -> None:
    assert id_at(milliseconds) < id_at(milliseconds + later)


@given(MILLISECONDS)
def test_a_time_bounds_the_ids_made_from_it_on(milliseconds: int) -> None:
    made = id_at(milliseconds)
    assert lowest_id_at("run", from_milliseconds(milliseconds)) <= made
    assert made < lowest_id_at("run", from_milliseconds(milliseconds + 1))


def test_times_before_the_epoch_bound_everything() -> None:
    assert lowest_id_at("run", from_milliseconds(-5)) == "run_" + "0" * 26


@pytest.mark.parametrize("name", ["a", "a-b", "a_b", "0", "a" * 64, "a--b"])
def test_slugs_may_name_a_worker(name: str) -> None:
    assert is_worker_id(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "_a", "A", "a b", "a/b", "..", "a" * 65, "a\n", "ä", "a.b", "a\0"]
)
def test_nothing_else_may(name: str) -> None:
    assert not is_worker_id(name)


def test_a_reserved_slug_has_no_path_of_its_own() -> None:
    assert all(is_worker_id(name) and not is_addressable(name) for name in RESERVED_WORKER_IDS)
    assert is_addressable("reload-all")
    assert not is_addressable("Bad Name")
