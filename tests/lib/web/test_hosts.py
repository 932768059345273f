"""Which names reach the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.web.hosts import Hosts
from lib.web.problems import WrongHost

HOSTS = Hosts("https://floom.example:8443/base", ["other.example", "[2001:db8::1]:80"])


@pytest.mark.parametrize(
    "header",
    [
        b"floom.example",
        b"floom.example:8443",
        b"floom.example:1",
        b"FLOOM.Example",
        b"floom.example.",
        b"floom.example.:80",
        b"localhost",
        b"localhost:",
        b"LOCALHOST:8000",
        b"127.0.0.1:8000",
        b"[::1]",
        b"[::1]:8000",
        b"other.example:9",
        b"[2001:DB8::1]",
    ],
)
def test_own_names_are_let_in_whatever_the_port(header):
    HOSTS.check(header)
    HOSTS.check(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b" ",
        b":8000",
        b"evil.example",
        b"localhost.evil.example",
        b"evil.example:localhost",
        b"localhost:80:80",
        b"localhost:800000",
        b"localhost:x",
        b"localhost..",
        b"user@localhost",
        b"localhost/",
        b"localhost,evil.example",
        b"localhost, localhost",
        b"127.0.0.2",
        b"127.1",
        b"2130706433",
        b"0.0.0.0",
        b"::1",
        b"[::1",
        b"[::1]evil",
        b"[::ffff:127.0.0.1]",
        b"localhost\n",
        b"\xff\xfe",
        "lócalhost".encode(),
    ],
)
def test_other_names_and_malformed_ones_are_refused(header):
    with pytest.raises(WrongHost):
        HOSTS.check(header)


@pytest.mark.parametrize("name", ["*.example", "a b", "http://x", ""])
def test_an_allowed_name_that_is_none_is_refused_at_start(name):
    with pytest.raises(ValueError, match="host name"):
        Hosts("http://localhost", [name])


def test_a_name_beyond_ascii_is_matched_in_its_encoded_form():
    Hosts("http://localhost", ["bücher.example"]).check(b"xn--bcher-kva.example")


@given(st.binary(max_size=60))
def test_no_other_bytes_pass(header):
    name = header.split(b":")[0].lower().removesuffix(b".")
    if name in {b"localhost", b"127.0.0.1", b"floom.example", b"other.example"}:
        return
    if header.lower().startswith((b"[::1]", b"[2001:db8::1]")):
        return
    with pytest.raises(WrongHost):
        HOSTS.check(header)
