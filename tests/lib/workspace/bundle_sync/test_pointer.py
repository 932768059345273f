"""The pointer's file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.bundle_sync.errors import BundleStoreUnavailable, NewerPointer
from lib.workspace.bundle_sync.pointer import (
    RECENT,
    Base,
    Increment,
    Pointer,
    Signature,
    decode,
)
from lib.workspace.bundle_sync.upkeep import FOLD_AT, due_to_fold

BY = Signature("us", "2026-01-01T00:00:00.000Z")


def sha(number: int) -> str:
    return f"{number:08x}" + "0" * 32


def base(seq: int = 1) -> Base:
    return Base(
        key=f"bundles/{seq}-000000000000.bundle", seq=seq, tip=sha(seq), size=10, sha256="0" * 64,
        idx_size=5, idx_sha256="1" * 64,
    )  # fmt: skip


def increment(seq: int, level: int = 0) -> Increment:
    return Increment(level, seq, sha(seq), f"{seq:012x}", 7, "2" * 64)


def chain(length: int) -> Pointer:
    pointer = Pointer.first(base(), BY)
    for seq in range(2, length + 2):
        pointer = pointer.published(increment(seq), BY)
    return pointer


def test_it_is_read_as_it_was_written() -> None:
    pointer = chain(35)  # more than there can be for long
    assert decode(pointer.encode()) == pointer
    assert pointer.tip == sha(36)
    assert len(pointer.recent) == RECENT
    assert pointer.has_published(sha(36))
    assert not pointer.has_published(sha(1))
    assert len(pointer.encode()) < 6 * 1024


def test_a_fold_keeps_the_tip_and_what_came_meanwhile() -> None:
    pointer = chain(FOLD_AT + 3)
    folded = due_to_fold(pointer)
    assert [each.seq for each in folded] == [*range(2, FOLD_AT + 2)]
    into = increment(folded[-1].seq, level=1)
    later = pointer.published(increment(99), BY)
    after = later.folded(folded, into, BY)
    assert after is not None
    assert [each.seq for each in after.chain()] == [FOLD_AT + 1, FOLD_AT + 2, FOLD_AT + 3,
                                                    FOLD_AT + 4, 99]  # fmt: skip
    assert after.tip == later.tip
    assert decode(after.encode()) == after
    assert after.folded(folded, into, BY) is None


def test_a_new_base_takes_the_place_of_what_leads_to_it() -> None:
    pointer = chain(5)
    after = pointer.rebased(base(4), BY)
    assert after is not None
    assert [each.seq for each in after.chain()] == [5, 6]
    assert decode(after.encode()) == after
    assert pointer.rebased(base(77), BY) is None


@pytest.mark.parametrize("version", [2, 3, 10**6])
def test_a_newer_one_is_refused_as_that(version: int) -> None:
    data = {**json.loads(chain(1).encode()), "version": version, "unheard": "of"}
    with pytest.raises(NewerPointer, match=f"version {version}"):
        decode(json.dumps(data).encode())


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, -1, 0, 1.5, True, "", "x", [], {}, "0" * 40, 10**30]
)


@given(key=st.sampled_from(sorted(json.loads(chain(2).encode()))), value=VALUES)
def test_a_wrong_value_is_refused(key: str, value: Any) -> None:
    data = json.loads(chain(2).encode())
    data[key] = value
    try:
        pointer = decode(json.dumps(data).encode())
    except BundleStoreUnavailable:
        return
    assert decode(pointer.encode()) == pointer  # it was not wrong, then
    assert key in {"writer", "seq", "swept_at", "recent", "version", "updated_at"}


@pytest.mark.parametrize(
    "change",
    [{"tip": sha(9)}, {"increments": []}, {"seq": 1}, {"base": None}, {"version": "1"}],
)
def test_parts_that_do_not_lead_to_the_tip_are_refused(change: dict[str, Any]) -> None:
    data = {**json.loads(chain(2).encode()), **change}
    with pytest.raises(BundleStoreUnavailable, match="damaged"):
        decode(json.dumps(data).encode())


@given(data=st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleStoreUnavailable):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [b"[" * 200_000, b'{"version":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"9" * 10_000,
     b'{"version":' + b"9" * 4_300 + b"}", b"\xff\xfe", b"\0" * 10],
    ids=len,
)  # fmt: skip
def test_what_a_parser_may_choke_on_is_refused(data: bytes) -> None:
    with pytest.raises(BundleStoreUnavailable):
        decode(data)


@pytest.mark.parametrize("zeros", [16, 30, 4_000])
def test_a_number_that_no_store_came_to_is_refused(zeros: int) -> None:
    data = chain(2).encode().replace(b'"seq":3', b'"seq":1' + b"0" * zeros)
    with pytest.raises(BundleStoreUnavailable, match="damaged"):
        decode(data)


@pytest.mark.parametrize("key", ["updated_at", "swept_at"])
@pytest.mark.parametrize("time", ["2026-01-01T00:00:00.000", "2026-01-01", "now", "0000-00-00Z"])
def test_a_time_without_a_zone_is_refused(key: str, time: str) -> None:
    data = {**json.loads(chain(2).encode()), key: time}
    with pytest.raises(BundleStoreUnavailable, match="damaged"):
        decode(json.dumps(data).encode())
