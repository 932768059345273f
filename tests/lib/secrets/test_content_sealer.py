"""Boxes: any bytes come out as they were, and of nothing but their box."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.secrets.cipher import Cipher, SecretUnreadable
from lib.secrets.content_sealer import ContentSealer
from lib.secrets.keys import KEY_BYTES, Key
from tests.contract.threads import together

KEY, OTHER = Key(bytes(range(KEY_BYTES))), Key(bytes(KEY_BYTES))
SEALER = ContentSealer(KEY, workspace_id="default")
OVERHEAD = 28  # nonce and tag


@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=bytes(5 * 1024 * 1024))
def test_any_bytes_come_back(data: bytes) -> None:
    box = SEALER.seal(data)
    assert len(box) == len(data) + OVERHEAD
    assert ContentSealer(KEY, workspace_id="default").open(box, key_id=KEY.id) == data


def test_equal_data_gives_boxes_that_have_nothing_in_common() -> None:
    boxes = [SEALER.seal(b"the same value") for _ in range(100)]
    assert len({box[:12] for box in boxes}) == 100
    assert len({box[12:] for box in boxes}) == 100
    assert not any(b"same" in box for box in boxes)


@given(data=st.binary(max_size=20), bit=st.integers(min_value=0))
def test_any_flipped_bit_fails(data: bytes, bit: int) -> None:
    box = bytearray(SEALER.seal(data))
    at, number = divmod(bit % (8 * len(box)), 8)
    box[at] ^= 1 << number
    with pytest.raises(SecretUnreadable, match="damaged"):
        SEALER.open(bytes(box), key_id=KEY.id)


@given(data=st.binary(max_size=20), cut=st.integers(min_value=1))
def test_a_box_that_lost_its_end_fails(data: bytes, cut: int) -> None:
    box = SEALER.seal(data)
    with pytest.raises(SecretUnreadable, match="Restore the data folder"):
        SEALER.open(box[: -(cut % len(box)) or None][:-1], key_id=KEY.id)


def test_another_key_is_named_and_no_cause_is_shown() -> None:
    box = SEALER.seal(b"the value")
    with pytest.raises(SecretUnreadable, match=f"{KEY.id}.*{OTHER.id}.*start it with") as failure:
        ContentSealer(OTHER, workspace_id="default").open(box, key_id=KEY.id)
    assert "the value" not in str(failure.value)
    with pytest.raises(SecretUnreadable) as damaged:  # a record that names the wrong key
        ContentSealer(OTHER, workspace_id="default").open(box, key_id=OTHER.id)
    assert damaged.value.__cause__ is None


def test_another_workspace_does_not_open_it() -> None:
    box = SEALER.seal(b"the value")
    with pytest.raises(SecretUnreadable):
        ContentSealer(KEY, workspace_id="other").open(box, key_id=KEY.id)


@given(name=st.text(max_size=10))
@example(name="")
@example(name="default")
def test_a_secret_s_record_is_no_box(name: str) -> None:
    """Whoever can write the database must not have a secret shown as a proposal."""
    sealed = Cipher(KEY, workspace_id="default").seal(name, "the value")
    with pytest.raises(SecretUnreadable):
        SEALER.open(sealed.nonce + sealed.box, key_id=KEY.id)


def test_what_must_come_first_comes_before_the_first_box_and_then_no_more() -> None:
    calls: list[int] = []
    sealer = ContentSealer(KEY, workspace_id="default", before_first=lambda: calls.append(1))
    box = sealer.seal(b"1")
    assert sealer.open(sealer.seal(b"2"), key_id=KEY.id) == b"2"
    assert calls == [1]

    reader = ContentSealer(KEY, workspace_id="default", before_first=lambda: calls.append(2))
    reader.open(box, key_id=KEY.id)
    assert calls == [1]


def test_what_fails_first_is_tried_again() -> None:
    failures = [OSError("no room")]

    def fail_once() -> None:
        if failures:
            raise failures.pop()

    sealer = ContentSealer(KEY, workspace_id="default", before_first=fail_once)
    with pytest.raises(OSError, match="no room"):
        sealer.seal(b"1")
    assert sealer.open(sealer.seal(b"1"), key_id=KEY.id) == b"1"


def test_many_threads_at_once() -> None:
    sealer = ContentSealer(KEY, workspace_id="default")
    values = [str(number).encode() * 100 for number in range(16)]

    def use(number: int) -> bytes:
        return sealer.open(sealer.seal(values[number]), key_id=KEY.id)

    assert together(use, 16) == values
