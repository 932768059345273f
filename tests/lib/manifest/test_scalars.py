"""What unquoted words of YAML mean in a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.manifest.scalars import read_plain, read_tagged


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("on", "on"),
        ("no", "no"),
        ("12", 12),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("is:unread", "is:unread"),
        (".nan", ".nan"),
        ("-.inf", "-.inf"),
        ("1e999", "1e999"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("1" * 5000, "1" * 5000),
        ("-", "-"),
        ("+.", "+."),
        ("٣", "٣"),
    ],
)
def test_plain_scalar(text: str, value: Any):
    read = read_plain(text)

    assert read == value
    assert type(read) is type(value)


@settings(deadline=None)
@given(st.text(alphabet="0123456789.eExXo+-_:", max_size=80))
def test_any_number_like_text_is_read(text: str):
    assert isinstance(read_plain(text), (str, int, float, type(None)))


def test_a_tag_forces_the_type():
    assert read_tagged("tag:yaml.org,2002:str", "12") == "12"
    assert read_tagged("!", "12") == "12"
    assert read_tagged("tag:yaml.org,2002:int", "12") == 12


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("tag:yaml.org,2002:int", "twelve"),
        ("tag:yaml.org,2002:bool", "yes"),
        ("tag:yaml.org,2002:binary", "aGk="),
        ("tag:yaml.org,2002:python/name:os.system", ""),
        ("!secret", "x"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(tag: str, text: str):
    with pytest.raises(ValueError, match="does not fit"):
        read_tagged(tag, text)
