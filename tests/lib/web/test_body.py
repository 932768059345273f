"""JSON bodies: read strictly, or refused as a whole."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Invalid, MalformedRequest, UnsupportedMedia
from lib.web import body
from lib.web.models import RequestModel


class Anything(RequestModel):
    value: object


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"NaN",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[" + b"9" * 5000 + b"]",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'"\xff"',
        '"é"'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'["\\ud800"]',
        b'{"\\udc00": 1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'"a\nb"',
        b"\0",
    ],
)
def test_what_readers_could_understand_differently_is_malformed(raw):
    with pytest.raises(MalformedRequest):
        body.parse(raw)


def test_nesting_that_only_the_second_reader_refuses_is_malformed_too():
    raw = b'{"value": ' + b"[" * 300 + b"]" * 300 + b"}"

    with pytest.raises(MalformedRequest):
        body.validate(Anything, raw, body.parse(raw))


@pytest.mark.parametrize("raw", [b'"\\ud83d\\ude00"', '"😀"'.encode(), b"[1e2, -0.0, 12345678901]"])
def test_plain_json_is_read(raw):
    assert body.parse(raw) == json.loads(raw)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=20))
def test_every_json_value_is_read(value):
    raw = json.dumps(value).encode()

    try:
        assert body.parse(raw) == value
    except MalformedRequest:
        assert "\\ud" in raw.decode()  # half a character


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_to_be_malformed(raw):
    with contextlib.suppress(MalformedRequest, Invalid):
        body.validate(Anything, raw, body.parse(raw))


def test_the_digest_does_not_depend_on_order_or_white_space():
    one, two = b'{"a": [1, 2], "b": "\xc3\xa9"}', b'{ "b":"\\u00e9","a":[1,2] }'

    assert body.digest(body.parse(one)) == body.digest(body.parse(two))


@pytest.mark.parametrize("other", [b'{"a": [2, 1]}', b'{"a": ["1", 2]}', b'{"a": [true, 2]}'])
def test_the_digest_tells_values_apart(other):
    assert body.digest(body.parse(b'{"a": [1, 2]}')) != body.digest(body.parse(other))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; Charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/merge-patch+json",
    ],
)
def test_json_media_types_are_taken(content_type):
    body.check_is_json(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/json; charset=latin-1",
        "application/jsonp",
        "application",
    ],
)
def test_others_are_unsupported(content_type):
    with pytest.raises(UnsupportedMedia):
        body.check_is_json(content_type)
