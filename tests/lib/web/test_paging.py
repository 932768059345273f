"""Cursors: opaque, of one form, and harmless whatever is sent as one."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.web.paging import MAX_CURSOR_CHARS, PageQuery, cursor_of, decode_cursor, encode_cursor


def raw(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=50), st.booleans() | st.none())
def test_a_cursor_comes_back_as_it_was(number, text, flag):
    cursor = encode_cursor([number, text, flag])

    assert decode_cursor(cursor, (int, str, bool | type(None))) == [number, text, flag]
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "a",
        "é",
        "\0",
        raw(b"["),
        raw(b"{}"),
        raw(b"[1]"),
        raw(b'[1,"a",2]'),
        raw(b'["1","a"]'),
        raw(b'[true,"a"]'),
        raw(b'[null,"a"]'),
        raw(b'[1.5,"a"]'),
        raw(b'[NaN,"a"]'),
        raw(b'[9223372036854775808,"a"]'),
        raw(b'[1,"\\ud800"]'),
        raw(b'[1,"\xff"]'),
        raw(json.dumps([1, "a" * MAX_CURSOR_CHARS]).encode()),
    ],
)
def test_anything_else_is_a_finding_about_the_cursor(text):
    with pytest.raises(Invalid) as caught:
        decode_cursor(text, (int, str))

    assert [error.pointer for error in caught.value.errors] == ["query:cursor"]


@given(st.text(max_size=60))
def test_no_text_does_anything_worse(text):
    with contextlib.suppress(Invalid):
        decode_cursor(text, (int, str))


def test_a_page_comes_after_the_key_of_its_cursor():
    assert PageQuery(cursor=cursor_of("b")).key(str) == "b"
    assert PageQuery(cursor=cursor_of(0)).key(int) == 0
    assert PageQuery().key(str) is None
    assert cursor_of(None) is None
    with pytest.raises(Invalid):
        PageQuery(cursor=cursor_of("b")).key(int)
