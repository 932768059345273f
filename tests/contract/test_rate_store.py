"""RateStore."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.storage.ports import RateStore
from lib.storage.rate_windows import window_end
from tests.contract.samples import START, Samples
from tests.contract.threads import MANY, together


class TestRateStore:
    def test_hits_are_counted_by_key(self, rates: RateStore, samples: Samples) -> None:
        def hit(key: str) -> int:
            return rates.hit(key, now=samples.now, window_seconds=60)

        assert [hit("a"), hit("a"), hit("b"), hit("a")] == [1, 2, 1, 3]

    def test_each_window_begins_at_nought(self, rates: RateStore, samples: Samples) -> None:
        """START is a whole minute, so a window begins with it."""
        samples.clock.advance(seconds=59.999)
        assert rates.hit("a", now=samples.now, window_seconds=60) == 1
        assert rates.hit("a", now=START, window_seconds=60) == 2
        samples.clock.advance(milliseconds=1)
        assert rates.hit("a", now=samples.now, window_seconds=60) == 1

    def test_a_clock_that_is_behind_counts_in_its_own_window(
        self, rates: RateStore, samples: Samples
    ) -> None:
        later = samples.now + timedelta(seconds=60)
        assert rates.hit("a", now=samples.now, window_seconds=60) == 1
        assert rates.hit("a", now=later, window_seconds=60) == 1
        assert rates.hit("a", now=samples.now, window_seconds=60) == 2
        assert rates.hit("a", now=later, window_seconds=60) == 2

    def test_of_many_at_once_each_has_its_own_number(
        self, rates: RateStore, samples: Samples
    ) -> None:
        counts = together(lambda _: rates.hit("a", now=samples.now, window_seconds=60))
        assert {*counts} == {*range(1, MANY + 1)}

    def test_windows_that_are_over_go_in_batches(self, rates: RateStore, samples: Samples) -> None:
        for key in "abc":
            rates.hit(key, now=samples.now, window_seconds=60)
        rates.hit("a", now=samples.now, window_seconds=3600)
        samples.clock.advance(seconds=59.999)
        assert rates.delete_expired(now=samples.now, limit=9) == 0
        samples.clock.advance(milliseconds=1)
        assert rates.delete_expired(now=samples.now, limit=2) == 2
        assert rates.delete_expired(now=samples.now, limit=2) == 1
        assert rates.delete_expired(now=samples.now, limit=2) == 0
        assert rates.hit("a", now=samples.now, window_seconds=3600) == 2


@pytest.mark.parametrize("seconds", [1, 60, 3600])
@given(offset=st.integers(0, 10**10))
def test_a_moment_is_in_exactly_one_window(seconds: int, offset: int) -> None:
    now = START + timedelta(milliseconds=offset)
    left = window_end(now, seconds) - round(now.timestamp() * 1000)
    assert 0 < left <= seconds * 1000
    assert window_end(now, seconds) % (seconds * 1000) == 0
