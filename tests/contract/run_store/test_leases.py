"""RunStore: leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.storage.ports import RunStore
from lib.storage.records import Lease, RunChange, RunRecord
from tests.contract.samples import Samples, ending, retrying, starting


@pytest.fixture
def running(runs: RunStore, samples: Samples) -> list[RunRecord]:
    """Three runs: two of server-1, one of server-2, a second apart."""
    for _ in range(3):
        runs.create(samples.new())
    claimed: list[RunRecord] = []
    for owner in ("server-1", "server-2", "server-1"):
        samples.clock.advance(seconds=1)
        claimed += runs.claim(starting(samples.now, owner), now=samples.now, limit=1)
    return claimed


class TestLeases:
    def test_an_owner_finds_its_runs_oldest_first(
        self, runs: RunStore, running: list[RunRecord]
    ) -> None:
        assert runs.list_leased("server-1") == [running[0], running[2]]
        assert runs.list_leased("server-2") == [running[1]]
        assert runs.list_leased("server-3") == []

    def test_a_finished_run_is_leased_to_nobody(
        self, runs: RunStore, samples: Samples, running: list[RunRecord]
    ) -> None:
        runs.change(running[1].id, ending(samples.now))

        assert runs.list_leased("server-2") == []

    def test_the_hash_of_a_token_lives_with_the_claim(
        self, runs: RunStore, samples: Samples, running: list[RunRecord]
    ) -> None:
        run = running[0]
        runs.change(run.id, lambda each: RunChange(replace(each, token_sha256="f" * 64)))

        runs.renew([Lease(run.id, run.fence)], until=samples.now + timedelta(seconds=30))

        assert runs.get(run.id).token_sha256 == "f" * 64

    def test_leases_end_longest_ago_first(
        self, runs: RunStore, samples: Samples, running: list[RunRecord]
    ) -> None:
        assert running[1].lease_until is not None
        at = running[1].lease_until

        assert runs.list_expired(now=at, limit=9) == running[:1]  # before, not at
        assert runs.list_expired(now=at + timedelta(days=1), limit=2) == running[:2]
        assert runs.list_expired(now=samples.now, limit=9) == []

    def test_a_renewed_lease_lasts(
        self, runs: RunStore, samples: Samples, running: list[RunRecord]
    ) -> None:
        until = samples.now + timedelta(hours=1)

        lost = runs.renew([Lease(run.id, run.fence) for run in running], until=until)

        assert lost == []
        assert [runs.get(run.id).lease_until for run in running] == [until] * 3
        assert runs.list_expired(now=until, limit=9) == []

    def test_who_holds_an_old_fence_is_told(
        self, runs: RunStore, samples: Samples, running: list[RunRecord]
    ) -> None:
        recovered, finished, mine = running
        runs.change(recovered.id, retrying(samples.now, samples.now))
        [again] = runs.claim(starting(samples.now, "server-9"), now=samples.now, limit=1)
        runs.change(finished.id, ending(samples.now))
        unknown = samples.id("run")
        until = samples.now + timedelta(hours=1)

        leases = [Lease(run.id, run.fence) for run in running]
        lost = runs.renew([*leases, Lease(unknown, 1)], until=until)

        assert lost == [recovered.id, finished.id, unknown]
        assert runs.get(mine.id).lease_until == until
        assert runs.get(recovered.id) == again

    def test_nothing_to_renew_is_no_error(self, runs: RunStore, samples: Samples) -> None:
        assert runs.renew([], until=samples.now) == []
