"""ClaimStore."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.storage.ports import ClaimStore, IdempotencyKeyInUse, IdempotencyKeyReused, RunStore
from lib.storage.records import KeyTaking, StoredAnswer
from tests.contract.samples import Samples
from tests.contract.threads import together


@pytest.fixture
def answer(samples: Samples) -> StoredAnswer:
    return samples.claim().answer


class TestTaking:
    def test_a_fresh_key_was_tried_by_nobody(self, claims: ClaimStore, samples: Samples) -> None:
        assert claims.take(samples.pending(), now=samples.now) == KeyTaking()

    def test_a_settled_key_gives_its_answer(
        self, claims: ClaimStore, samples: Samples, answer: StoredAnswer
    ) -> None:
        claim = samples.pending()
        claims.take(claim, now=samples.now)
        claims.settle(claim, answer)
        claims.settle(claim, answer)

        assert claims.take(claim, now=samples.now) == KeyTaking(answer=answer)

    def test_a_key_is_taken_once_at_a_time(self, claims: ClaimStore, samples: Samples) -> None:
        claims.take(samples.pending(), now=samples.now)

        with pytest.raises(IdempotencyKeyInUse):
            claims.take(samples.pending(), now=samples.now)
        assert claims.take(samples.pending("other"), now=samples.now) == KeyTaking()

    def test_of_many_at_once_one_takes_it(self, claims: ClaimStore, samples: Samples) -> None:
        def take(_: int) -> bool:
            try:
                return claims.take(samples.pending(), now=samples.now) == KeyTaking()
            except IdempotencyKeyInUse:
                return False

        assert together(take).count(True) == 1

    @pytest.mark.parametrize("settled", [False, True])
    def test_another_body_is_a_misuse(
        self, claims: ClaimStore, samples: Samples, answer: StoredAnswer, settled: bool
    ) -> None:
        claims.take(samples.pending(), now=samples.now)
        if settled:
            claims.settle(samples.pending(), answer)

        with pytest.raises(IdempotencyKeyReused):
            claims.take(samples.pending(body_digest="other"), now=samples.now)
        with pytest.raises(IdempotencyKeyReused):
            claims.take(samples.pending(body_digest="other", owner="a"), now=samples.now)

    def test_what_a_start_settled_is_settled(
        self, claims: ClaimStore, runs: RunStore, samples: Samples, answer: StoredAnswer
    ) -> None:
        runs.create(samples.new(), claim=samples.claim())

        assert claims.take(samples.pending(), now=samples.now) == KeyTaking(answer=answer)


class TestTakingOver:
    def test_the_key_of_a_dead_server_is_taken_over(
        self, claims: ClaimStore, samples: Samples
    ) -> None:
        first = samples.pending(owner="an earlier life")
        claims.take(first, now=samples.now)
        samples.clock.advance(seconds=60)

        taken = claims.take(samples.pending(), now=samples.now)
        assert taken == KeyTaking(tried_since=first.taken_at)
        with pytest.raises(IdempotencyKeyInUse):
            claims.take(samples.pending(), now=samples.now)

    def test_a_key_that_was_given_up_is_free_again(
        self, claims: ClaimStore, samples: Samples
    ) -> None:
        first = samples.pending()
        claims.take(first, now=samples.now)
        claims.give_up(first)
        samples.clock.advance(seconds=60)

        second = samples.pending()
        assert claims.take(second, now=samples.now) == KeyTaking(tried_since=first.taken_at)
        claims.give_up(replace(second, owner="a dead one that is late"))
        with pytest.raises(IdempotencyKeyInUse):
            claims.take(second, now=samples.now)

    def test_giving_up_leaves_an_answer_alone(
        self, claims: ClaimStore, samples: Samples, answer: StoredAnswer
    ) -> None:
        claim = samples.pending()
        claims.take(claim, now=samples.now)
        claims.settle(claim, answer)
        claims.give_up(claim)
        claims.give_up(samples.pending("unknown"))

        assert claims.take(claim, now=samples.now).answer == answer


class TestExpiry:
    @pytest.mark.parametrize("settled", [False, True])
    def test_what_expired_counts_as_absent(
        self, claims: ClaimStore, samples: Samples, answer: StoredAnswer, settled: bool
    ) -> None:
        old = samples.pending()
        claims.take(old, now=samples.now)
        if settled:
            claims.settle(old, answer)
        samples.clock.advance(days=1)

        again = samples.pending(body_digest="other")
        assert claims.take(again, now=samples.now) == KeyTaking()

    def test_what_expired_can_be_deleted(
        self, claims: ClaimStore, runs: RunStore, samples: Samples, answer: StoredAnswer
    ) -> None:
        claims.take(samples.pending("pending"), now=samples.now)
        runs.create(samples.new(), claim=samples.claim("settled"))
        samples.clock.advance(seconds=1)
        live = samples.pending("live")
        claims.take(live, now=samples.now)
        claims.settle(live, answer)
        over = samples.now + timedelta(days=1) - timedelta(seconds=1)

        assert claims.delete_expired(now=over, limit=9) == 2
        assert claims.delete_expired(now=over, limit=9) == 0
        assert claims.take(live, now=over).answer == answer
