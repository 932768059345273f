"""Sealed values: any value opens again, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.secrets.box import NONCE_BYTES
from lib.secrets.cipher import Cipher, SecretUnreadable
from lib.secrets.keys import KEY_BYTES, Key
from lib.storage.records import SealedValue

KEY = Key(bytes(range(KEY_BYTES)))
CIPHER = Cipher(KEY, workspace_id="default")
TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@given(name=TEXT, value=TEXT)
@example(name="API_KEY", value="")
@example(name="API_KEY", value="\N{KEY}" * 32_768)
def test_any_value_opens_again(name: str, value: str) -> None:
    sealed = CIPHER.seal(name, value)
    assert CIPHER.open(name, sealed) == value
    assert Cipher(KEY, workspace_id="default").open(name, sealed) == value
    assert sealed.key_id == KEY.id


def test_a_record_shows_nothing_and_is_another_each_time() -> None:
    records = [CIPHER.seal("API_KEY", "the same value") for _ in range(100)]
    assert len({record.nonce for record in records}) == 100
    assert len({record.box for record in records}) == 100
    assert all(len(record.nonce) == NONCE_BYTES == 12 for record in records)
    assert not any(b"same" in record.box for record in records)


@given(value=st.text(max_size=20), bit=st.integers(min_value=0))
def test_any_flipped_bit_fails(value: str, bit: int) -> None:
    sealed = CIPHER.seal("API_KEY", value)
    data = bytearray(sealed.nonce + sealed.box)
    at, number = divmod(bit % (8 * len(data)), 8)
    data[at] ^= 1 << number
    damaged = SealedValue(sealed.key_id, bytes(data[:NONCE_BYTES]), bytes(data[NONCE_BYTES:]))
    with pytest.raises(SecretUnreadable):
        CIPHER.open("API_KEY", damaged)


@pytest.mark.parametrize(
    ("cipher", "name"),
    [
        (CIPHER, "API_KEY_2"),
        (CIPHER, "api_key"),
        (CIPHER, ""),
        (Cipher(KEY, workspace_id="other"), "API_KEY"),
        (Cipher(Key(bytes(KEY_BYTES)), workspace_id="default"), "API_KEY"),
    ],
)
def test_another_name_workspace_or_key_fails(cipher: Cipher, name: str) -> None:
    sealed = CIPHER.seal("API_KEY", "the value")
    with pytest.raises(SecretUnreadable) as failure:
        cipher.open(name, sealed)
    assert "the value" not in str(failure.value)
    assert failure.value.__cause__ is None


@given(first=st.tuples(TEXT, TEXT), second=st.tuples(TEXT, TEXT))
@example(first=("a", "bc"), second=("ab", "c"))
@example(first=('a", "b', "c"), second=("a", 'b", "c'))
def test_no_two_pairs_are_bound_alike(first: tuple[str, str], second: tuple[str, str]) -> None:
    sealed = Cipher(KEY, workspace_id=first[0]).seal(first[1], "value")
    other = Cipher(KEY, workspace_id=second[0])
    if first == second:
        assert other.open(second[1], sealed) == "value"
    else:
        with pytest.raises(SecretUnreadable):
            other.open(second[1], sealed)


@pytest.mark.parametrize(
    ("nonce", "box"), [(b"", None), (b"x" * 200, None), (None, b""), (None, b"x" * 16)]
)
def test_a_record_of_another_shape_fails_alike(nonce: bytes | None, box: bytes | None) -> None:
    whole = CIPHER.seal("API_KEY", "value")
    sealed = SealedValue(
        whole.key_id,
        whole.nonce if nonce is None else nonce,
        whole.box if box is None else box,
    )
    with pytest.raises(SecretUnreadable, match="API_KEY"):
        CIPHER.open("API_KEY", sealed)
