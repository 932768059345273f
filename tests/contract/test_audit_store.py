"""AuditStore."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.ports import AuditStore
from tests.contract.samples import START, Samples
from tests.contract.stores import open_stores
from tests.contract.threads import MANY, together

ALL = AuditQuery()
ROUTE = "/workers/{worker_id}"


def entry(samples: Samples, **fields: Any) -> AuditEntry:
    """Return an entry that is a millisecond younger than the last."""
    entry_id = samples.id("aud")
    defaults: dict[str, Any] = {
        "id": entry_id,
        "at": samples.now,
        "user_id": "usr_1",
        "role": "member",
        "method": "token",
        "http_method": "DELETE",
        "route": ROUTE,
        "object": {"worker_id": "hello-worker"},
        "status": 204,
        "error_code": None,
        "address": "192.0.2.7",
        "request_id": "0123abcd",
    }
    return AuditEntry(**{**defaults, **fields})


def pages(audit: AuditStore, query: AuditQuery, limit: int) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    page = audit.list(query, limit=limit)
    found += page.rows
    while page.next_key is not None:
        assert len(page.rows) == limit
        page = audit.list(query, limit=limit, after=page.next_key)
        found += page.rows
    return found


class TestAuditStore:
    def test_an_entry_is_read_as_it_was_written(self, audit: AuditStore, samples: Samples) -> None:
        whole = entry(samples)
        bare = entry(
            samples, role=None, route=None, object={}, status=None, error_code="x", address=""
        )
        audit.append(whole)
        audit.append(bare)
        assert audit.list(ALL, limit=9).rows == (bare, whole)

    def test_pages_are_newest_first_and_whole(self, audit: AuditStore, samples: Samples) -> None:
        entries = [entry(samples) for _ in range(7)]
        for each in (*entries[::2], *entries[1::2]):
            audit.append(each)
        for limit in (1, 3, 7, 8):
            assert pages(audit, ALL, limit) == entries[::-1]
        assert audit.list(ALL, limit=7).next_key is None
        assert audit.list(ALL, limit=6).next_key == entries[1].id

    def test_filters_hold_together(self, audit: AuditStore, samples: Samples) -> None:
        first = entry(samples)
        other_user = entry(samples, user_id="usr_2")
        other_route = entry(samples, route="/runs")
        no_route = entry(samples, route=None)
        for each in (first, other_user, other_route, no_route):
            audit.append(each)

        def listed(**filters: Any) -> tuple[AuditEntry, ...]:
            return audit.list(AuditQuery(**filters), limit=9).rows

        assert listed(user_id="usr_1") == (no_route, other_route, first)
        assert listed(route=ROUTE) == (other_user, first)
        assert listed(user_id="usr_1", route=ROUTE) == (first,)
        assert listed(user_id="usr_3") == ()
        assert listed(since=other_user.at) == (no_route, other_route, other_user)
        assert listed(until=other_user.at) == (first,)
        assert listed(since=other_user.at, until=no_route.at) == (other_route, other_user)
        assert listed(user_id="usr_1", since=other_user.at, until=no_route.at) == (other_route,)
        assert listed(since=no_route.at, until=first.at) == ()

    def test_the_oldest_go_in_batches_and_the_young_stay(
        self, audit: AuditStore, samples: Samples
    ) -> None:
        entries = [entry(samples) for _ in range(5)]
        for each in entries:
            audit.append(each)
        assert audit.delete_before(entries[0].at, limit=9) == 0
        assert audit.delete_before(entries[3].at, limit=2) == 2
        assert audit.list(ALL, limit=9).rows == (*entries[:1:-1],)
        assert audit.delete_before(entries[3].at, limit=2) == 1
        assert audit.delete_before(entries[3].at, limit=2) == 0
        assert audit.list(ALL, limit=9).rows == (entries[4], entries[3])
        assert audit.list(AuditQuery(user_id="usr_1"), limit=9).rows == (entries[4], entries[3])

    def test_of_many_at_once_none_is_lost(self, audit: AuditStore, samples: Samples) -> None:
        entries = [entry(samples) for _ in range(MANY)]
        assert together(lambda number: audit.append(entries[number])) == [None] * MANY
        assert pages(audit, ALL, 10) == entries[::-1]


@pytest.fixture(scope="module")
def both() -> Iterator[list[AuditStore]]:
    clock = Samples().clock
    with open_stores("memory", clock) as memory, open_stores("disk", clock) as disk:
        yield [memory.audit, disk.audit]


OFFSETS = st.none() | st.integers(-3, 40).map(lambda ms: START + timedelta(milliseconds=ms))


@given(
    data=st.data(),
    user=st.sampled_from([None, "usr_1", "usr_2"]),
    route=st.sampled_from([None, "/runs", ROUTE]),
    since=OFFSETS,
    until=OFFSETS,
    limit=st.integers(1, 9),
)
def test_both_adapters_give_the_same_pages(
    both: list[AuditStore],
    data: st.DataObject,
    user: str | None,
    route: str | None,
    since: Any,
    until: Any,
    limit: int,
) -> None:
    memory, disk = both
    if not memory.list(ALL, limit=1).rows:
        samples = Samples()
        for number in range(36):
            made = entry(
                samples, user_id=f"usr_{number % 2 + 1}", route=("/runs", ROUTE)[number % 3 % 2]
            )
            memory.append(made)
            disk.append(made)
    known = [each.id for each in memory.list(ALL, limit=99).rows]
    after = data.draw(st.none() | st.sampled_from(known))
    query = AuditQuery(user, route, since, until)
    assert disk.list(query, limit=limit, after=after) == memory.list(
        query, limit=limit, after=after
    )
