from __future__ import annotations

import pytest
from dulwich.pack import apply_delta
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.deltas import make_delta


@given(st.binary(max_size=600), st.binary(max_size=600), st.binary(max_size=300))
def test_a_delta_turns_base_into_target(head: bytes, middle: bytes, tail: bytes) -> None:
    for base, target in [
        (head + tail, head + middle + tail),
        (head + middle + tail, head + tail),
        (head, middle),
    ]:
        assert b"".join(apply_delta(base, make_delta(base, target))) == target


@pytest.mark.parametrize("size", [0xFFFF, 0x10000, 0xFFFFFF, 0x1000001])
def test_long_copies_are_cut(size: int) -> None:
    base = bytes(size)
    target = base + b"end"
    assert b"".join(apply_delta(base, make_delta(base, target))) == target
